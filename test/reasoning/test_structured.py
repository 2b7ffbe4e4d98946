# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Heads and channels that leave a decoder: which ones, and what is computed without them."""

import copy

import pytest
import torch
from fixtures.small_decoder import decoder

from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.width import WidthSettings
from efficient_vla.reasoning.width.structured import Saliency, measured, narrow
from efficient_vla.settings import InvalidSettingError, build

DEPTH, GROUPS, CHANNELS, HEAD = 2, 2, 24, 4
"""Two heads of four numbers share their keys and values."""


def settings(**shares):
    return WidthSettings('structured', **shares)


def saliency(heads=(), channels=()):
    """Return one in which these groups and channels matter, in every layer."""
    made = Saliency(DEPTH, GROUPS, CHANNELS, (GROUPS, CHANNELS))
    made.heads[:, list(heads)] = 1.0
    made.channels[:, list(channels)] = 1.0
    return made


def run(model):
    torch.manual_seed(1)
    return model(inputs_embeds=torch.randn(2, 7, 16)).last_hidden_state


def without(model, heads, channels):
    """Return a copy in which what these groups and channels give counts nothing."""
    made = copy.deepcopy(model)
    for layer in made.layers:
        for group in heads:
            layer.self_attn.o_proj.weight[:, 2 * HEAD * group : 2 * HEAD * (group + 1)] = 0
        layer.mlp.down_proj.weight[:, list(channels)] = 0
    return made


def test_narrow_layers_give_what_the_whole_ones_give_without_the_rest():
    model = decoder(DEPTH).decoder
    lost = [c for c in range(CHANNELS) if c % 3]
    wanted = run(without(model, [0], lost))
    assert (wanted - run(model)).abs().max() > 0.01
    kept = saliency([1], [c for c in range(CHANNELS) if c % 3 == 0])
    narrow(model, settings(heads=0.5, channels=1 / 3), kept)
    torch.testing.assert_close(run(model), wanted, atol=1e-6, rtol=0)
    layer = model.layers[0]
    assert layer.self_attn.q_proj.weight.shape == (2 * HEAD, 16)
    assert layer.self_attn.k_proj.weight.shape == (HEAD, 16)
    assert layer.mlp.down_proj.weight.shape == (16, 8)


def test_the_whole_width_is_identity():
    trunk = decoder(DEPTH)
    wanted = run(trunk.decoder)
    assert narrow(trunk.decoder, settings(heads=1.0, channels=1.0), saliency())
    torch.testing.assert_close(run(trunk.decoder), wanted, atol=1e-5, rtol=0)


def test_fused_layers_are_as_narrow():
    trunk = decoder(DEPTH)
    narrow(trunk.decoder, settings(heads=0.5, channels=0.25), saliency([0], range(6)))
    wanted = run(copy.deepcopy(trunk.decoder))
    trunk.parts.fuse()
    hidden, mask = torch.Generator().manual_seed(1), torch.ones(7, 7).tril().bool()[None, None]
    entering = torch.randn(2, 7, 16, generator=hidden)
    rotary = trunk.parts.rotary(entering, torch.arange(7)[None])['full_attention']
    for layer in trunk.parts.layers:
        entering = layer(entering, mask, rotary)
    torch.manual_seed(1)
    torch.testing.assert_close(trunk.parts.norm(entering), wanted, atol=1e-5, rtol=0)


def test_the_importance_is_what_a_loss_that_is_linear_in_a_part_loses_with_it():
    model = decoder(1).decoder
    way = torch.randn(7, 16, generator=torch.Generator().manual_seed(3))

    def loss(of):
        seen = []
        handle = of.layers[-1].register_forward_hook(lambda *passed: seen.append(passed[-1]))
        torch.manual_seed(1)
        given = torch.randn(1, 7, 16).requires_grad_()
        of(inputs_embeds=given)
        handle.remove()
        return (seen[0][0] * way).sum()

    with measured(model) as found:
        loss(model).backward()
    whole = loss(model)
    lost = torch.stack([(whole - loss(without(model, (), [c]))).abs() for c in range(CHANNELS)])
    torch.testing.assert_close(found.channels[0], lost.detach() / lost.max(), atol=2e-3, rtol=0)
    assert found.channels[0].min() < 0.5


def test_samples_do_not_cancel_and_tokens_of_one_do():
    model = decoder(1).decoder
    parts = []
    for signs in ([1.0, 1.0], [1.0, -1.0]):
        with measured(model) as found:
            given = torch.ones(2, 3, 16).requires_grad_()
            out = model(inputs_embeds=given).last_hidden_state
            (out * torch.tensor(signs)[:, None, None]).sum().backward()
        parts.append(found.channels)
    torch.testing.assert_close(parts[0], parts[1])


def test_other_shares_than_those_of_the_training_are_told_apart():
    trained = Saliency(DEPTH, GROUPS, CHANNELS, (2, 12))
    assert narrow(decoder(DEPTH).decoder, settings(channels=0.5), trained)
    assert not narrow(decoder(DEPTH).decoder, settings(channels=0.25), trained)
    assert not narrow(decoder(DEPTH).decoder, settings(heads=0.5, channels=0.5), trained)


def test_an_importance_of_other_layers_is_refused():
    other = Saliency(DEPTH, GROUPS, 32, (2, 16))
    with pytest.raises(InvalidSettingError, match=r'2 layers of 2 groups of heads and 32 channels'):
        narrow(decoder(DEPTH).decoder, settings(), other)


@pytest.mark.parametrize('method', ['early_exit', 'mole'])
def test_exits_and_routers_of_whole_layers_do_not_go_with_it(method):
    with pytest.raises(InvalidSettingError, match=r'width.* with depth\.method'):
        build(ReasonerSettings, {'width.method': 'structured', 'depth.method': method})


@pytest.mark.parametrize(
    ('other', 'why'),
    [
        ({'resampling.method': 'otter'}, r'width\.method structured and resampling\.method otter'),
        ({'depth.method': 'student'}, r'depth\.method student and width\.method structured'),
        ({'quantization.mode': 'int8'}, r'int8 with width\.method structured; .* int8_dynamic'),
    ],
)
def test_what_was_trained_or_measured_without_its_updates_does_not_go_with_it(other, why):
    with pytest.raises(InvalidSettingError, match=why):
        build(ReasonerSettings, {'width.method': 'structured', **other})
