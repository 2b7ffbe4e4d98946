# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Layers that are left out for good: what is computed without them, and where drops go."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, Gemma3TextConfig, LlamaConfig

from efficient_vla.reasoning.depth import DepthSettings
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.depth.similarity_skip import Importance, measured, most_important
from efficient_vla.reasoning.depth.static import shorten
from efficient_vla.reasoning.selection import drop_layers, observed_layers
from efficient_vla.reasoning.settings import PruningSettings, ReasonerSettings
from efficient_vla.reasoning.stage import Reasoner
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import InvalidRecordError, VisualTokens

WIDTH, DEPTH, SIDE = 16, 6, 4
SIZES = {
    'hidden_size': WIDTH,
    'intermediate_size': 24,
    'num_hidden_layers': DEPTH,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'vocab_size': 40,
    'initializer_range': 0.1,
}
LEFT = (0, 2, 3, 5)


def trunk(levels=0):
    torch.manual_seed(0)
    made = Trunk(AutoModel.from_config(LlamaConfig(**SIZES)), 2, levels=levels).eval()
    return made.requires_grad_(False)


def importance(*scores):
    made = Importance(len(scores))
    made.scores = torch.tensor(scores)
    return made


def settings(**values):
    return build(DepthSettings, values)


def tokens(stamp=0.0):
    count = SIDE * SIDE
    cell = np.arange(count, dtype=np.int32)
    features = np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32)
    return VisualTokens(
        features=features,
        camera=np.zeros(count, np.int32),
        row=cell // SIDE,
        column=cell % SIDE,
        position=cell,
        age=np.zeros(count, np.float32),
        grid=(SIDE, SIDE),
        stamp=stamp,
    )


def reasoner(own, **values):
    chosen = build(ReasonerSettings, {name.replace('__', '.'): v for name, v in values.items()})
    return Reasoner(own, lambda text: {'input_ids': [3, 4]}, SIDE * SIDE, chosen, ())


def latents(own, **values):
    return reasoner(own, **values).plan(tokens(), 'open it').latents


def switched_off(own, numbers):
    """Make the residual branches of layers add nothing, so that the layers pass on their input."""
    for number in numbers:
        layer = own.decoder.layers[number]
        nn.init.zeros_(layer.self_attn.o_proj.weight)
        nn.init.zeros_(layer.mlp.down_proj.weight)
    return own


@pytest.mark.parametrize('method', ['truncate', 'similarity_skip'])
def test_identity_all_layers_is_dense(method):
    own = trunk()
    scores = importance(*range(DEPTH)) if method == 'similarity_skip' else None
    shorten(own, settings(method=method, layers=DEPTH), scores)
    assert own.parts.left == Layers.all_of(DEPTH)
    np.testing.assert_allclose(latents(own), latents(trunk()), atol=1e-5)


@pytest.mark.parametrize('fused', [False, True])
def test_layers_that_add_nothing_are_not_missed(fused):
    gone = sorted(set(range(DEPTH)) - set(LEFT))
    expected, own = switched_off(trunk(), gone), switched_off(trunk(), gone)
    own.keep_layers(LEFT)
    if fused:
        own.parts.fuse()
    assert len(own.decoder.layers) == len(LEFT)
    np.testing.assert_allclose(latents(own), latents(expected), atol=1e-5)
    assert np.abs(latents(own) - latents(trunk())).max() > 1e-3


def test_layers_that_are_left_out_leave_the_memory():
    own, dense = trunk(), trunk()
    count = sum(p.numel() for p in dense.decoder.layers.parameters())
    shorten(own, settings(method='truncate', layers=2), None)
    assert sum(p.numel() for p in own.decoder.layers.parameters()) == count * 2 // DEPTH
    assert reasoner(own).parameters_mb < reasoner(dense).parameters_mb


def test_least_important_layers_go_but_never_the_first_and_last():
    scores = torch.tensor([0.0, 0.3, 0.1, 0.4, 0.2, 0.0])
    assert most_important(scores, 2) == (0, 5)
    assert most_important(scores, 3) == (0, 3, 5)
    assert most_important(scores, 4) == (0, 1, 3, 5)
    assert most_important(scores, 6) == (0, 1, 2, 3, 4, 5)


def test_importance_is_one_less_the_mean_cosine_over_tokens():
    class Turn(nn.Module):
        """Turns the first of two tokens by a right angle, and doubles the second."""

        def forward(self, hidden):
            return torch.stack(
                [hidden[:, 0].flip(-1) * torch.tensor([1.0, -1.0]), hidden[:, 1] * 2], 1
            )

    layers = nn.ModuleList([Turn(), nn.Identity()])
    with measured(layers) as meter:
        hidden = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
        for layer in layers:
            hidden = layer(hidden)
    torch.testing.assert_close(meter.importance(), torch.tensor([0.5, 0.0]))
    assert not layers[0]._forward_hooks


@pytest.mark.parametrize(
    ('values', 'scores', 'reason'),
    [
        ({'method': 'truncate', 'layers': 7}, None, 'depth.layers is 7.*6 layers, expected 1 to 6'),
        (
            {'method': 'similarity_skip', 'layers': 1},
            (0.0,) * DEPTH,
            'expected 2 to 6, since the first and the last stay',
        ),
        ({'method': 'similarity_skip'}, (0.0,) * 3, 'has measured 3 layers; the decoder has 6'),
    ],
)
def test_numbers_of_layers_out_of_reach_are_refused(values, scores, reason):
    with pytest.raises(InvalidSettingError, match=reason):
        shorten(trunk(), settings(**values), importance(*scores) if scores else None)


def test_layers_with_features_of_their_own_stay():
    with pytest.raises(InvalidSettingError, match='expected the first 2 among them'):
        trunk(levels=2).keep_layers((0, 2, 5))


def test_a_share_of_the_depth_is_rounded_and_a_number_goes_before_it():
    for share, count in ((0.5, 3), (0.6, 4), (0.01, 1)):
        own = trunk()
        shorten(own, settings(method='truncate', share=share), None)
        assert own.numbers == tuple(range(count))
    own = trunk()
    shorten(own, settings(method='truncate', share=0.5, layers=5), None)
    assert own.numbers == (0, 1, 2, 3, 4)


def test_each_layer_that_is_left_keeps_its_kind():
    torch.manual_seed(0)
    kinds = ['sliding_attention', 'full_attention', 'sliding_attention', 'full_attention']
    config = Gemma3TextConfig(
        **{**SIZES, 'num_hidden_layers': 4}, layer_types=kinds, sliding_window=3, head_dim=4
    )
    own = Trunk(AutoModel.from_config(config), 2).eval()
    own.keep_layers((0, 3))
    assert own.parts.kinds == ('sliding_attention', 'full_attention')
    own.replace(own.decoder)
    assert own.parts.kinds == ('sliding_attention', 'full_attention')


def test_drops_are_counted_by_the_whole_decoder():
    left = Layers(LEFT, (0, 1, 2, 3), DEPTH)
    for number, place in ((0, 0), (1, 1), (2, 1), (3, 2), (4, 3), (5, 3)):
        assert (
            drop_layers(build(PruningSettings, {'method': 'random', 'layer': number}), left)[0]
            == place
        )
    with pytest.raises(
        InvalidRecordError, match=r'pruning.layer is 4; the decoder has 6 layers.*is 2'
    ):
        drop_layers(
            build(PruningSettings, {'method': 'random', 'layer': 4}),
            Layers((0, 1, 2), (0, 1, 2), 6),
        )


def test_a_selector_that_ranks_by_more_layers_than_are_left_before_the_drop_is_refused():
    left = Layers((0, 3, 4, 5), (0, 1, 2, 3), DEPTH)
    assert drop_layers(build(PruningSettings, {'method': 'fastv', 'layer': 2}), left)[0] == 1
    with pytest.raises(InvalidRecordError, match=r'ranks tokens by 2 layers.*leaves 1'):
        drop_layers(build(PruningSettings, {'method': 'specprune'}), left)


def test_layers_that_only_give_keys_and_values_are_passed_over():
    left = Layers((0, 1, 2, 3, 4, 5), (0, 1, 4), DEPTH)
    drop = build(PruningSettings, {'method': 'fastv', 'layer': 2})
    assert drop_layers(drop, left)[0] == 4
    assert left.before(4, 2) == (0, 1)
    assert left.before(5, 1) == (4,)
    assert left.place(5) == 5
    assert observed_layers(drop, left, True) == {4}
    adp = build(PruningSettings, {'method': 'adp', 'layer': 5})
    with pytest.raises(InvalidRecordError, match='expected at most 4'):
        drop_layers(adp, left)


def test_tokens_are_dropped_before_the_next_layer_that_is_left():
    """Without layer 2, fastv drops before layer 3, by the attention of layer 1."""
    values = {'pruning__method': 'fastv', 'pruning__keep': 0.5, 'pruning__min_tokens': 1}
    shorter, silent = trunk(), switched_off(trunk(), [2])
    shorter.keep_layers((0, 1, 3, 4, 5))
    seen = []
    for own in (shorter, silent):
        stage = reasoner(own, **values)
        seen.append(stage.plan(tokens(), 'open it'))
        assert len(seen[-1].kept) == 8
    assert np.array_equal(seen[0].kept, seen[1].kept)


def test_keys_and_values_are_reused_with_fewer_layers():
    own = trunk()
    own.keep_layers(LEFT)
    stage = reasoner(own, reuse__method='vla_cache', reuse__task_share=0.0)
    first = stage.plan(tokens(0.0), 'open it')
    again = stage.plan(tokens(0.1), 'open it')
    assert len(again.reused) > 0
    np.testing.assert_allclose(again.latents, first.latents, atol=1e-5)
