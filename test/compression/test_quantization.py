# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Number formats: neutral is identical, the others are close, and smaller in memory."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn
from transformers import AutoModel, LlamaConfig

from efficient_vla.compression.quantization import quantize
from efficient_vla.quantization_settings import FORMATS, QuantizationSettings
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.tensors import weights_mb

BOUNDS = {
    'bf16': (0.03, 0.51),
    'int8_dynamic': (0.05, 0.27),
    'int8_weight': (0.01, 0.28),
    'int4_weight': (0.12, 0.17),
    'nf4': (0.12, 0.17),
    'int4_hadamard': (0.35, 0.24),
    'ternary': (0.9, 0.11),
}
"""Mode -> greatest error of a random decoder, and greatest share of its memory."""


@pytest.fixture
def model():
    torch.manual_seed(0)
    return AutoModel.from_config(
        LlamaConfig(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            vocab_size=2,
        )
    ).eval()


@torch.inference_mode()
def run(model, inputs):
    return model(inputs_embeds=inputs.to(model.embed_tokens.weight.dtype)).last_hidden_state.float()


def test_identity_none_changes_nothing(model):
    inputs = torch.randn(1, 5, 64)
    assert torch.equal(run(quantize(copy.deepcopy(model), 'none'), inputs), run(model, inputs))


def test_identity_weights_that_a_format_can_hold_are_multiplied_exactly():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 24))
    with torch.no_grad():
        model[0].weight[:] = torch.randint(-7, 8, (24, 64)) * 0.25
        model[0].weight[:, ::16] = torch.tensor([-1.75, 2.0]).repeat(24, 2)
    x = torch.randn(9, 64)
    exact = model(x)
    made = quantize(copy.deepcopy(model), QuantizationSettings('int4_weight', 64))
    assert not isinstance(made[0], nn.Linear)
    torch.testing.assert_close(made(x), exact, atol=1e-5, rtol=1e-5)


def test_every_format_has_a_bound():
    assert set(BOUNDS) | {'int8'} == set(FORMATS) - {'none'}


@pytest.mark.parametrize('mode', BOUNDS)
def test_reduced_formats_are_close_and_smaller(model, mode):
    inputs = torch.randn(1, 5, 64)
    small = quantize(copy.deepcopy(model), mode)
    exact = run(model, inputs)
    error = (run(small, inputs) - exact).norm() / exact.norm()
    tolerance, share = BOUNDS[mode]
    assert 0 < error < tolerance
    assert weights_mb(small) < share * weights_mb(model)


@pytest.mark.parametrize('mode', sorted(BOUNDS.keys() - {'bf16'}))
def test_weights_that_were_packed_are_let_go(mode):
    model = nn.Sequential(nn.Linear(64, 80), nn.Linear(80, 64))
    gone = [weakref.ref(layer.weight) for layer in model]
    small = quantize(model, mode)
    gc.collect()
    assert [weight() for weight in gone] == [None, None]
    held = [*small.parameters(), *small.buffers()]
    assert not any(t.numel() >= 64 * 80 and t.dtype == torch.float32 for t in held)


def test_memory_is_counted_in_packed_bytes_and_shared_memory_once():
    # 64 rows of 96 weights: 1.5 groups of 64 each, padded to 2 of 32 + 4 bytes; and the bias.
    made = quantize(nn.Sequential(nn.Linear(96, 64)), 'int4_weight')
    assert weights_mb(made) == pytest.approx((64 * 2 * 36 + 64 * 4) / 1e6)
    tied = nn.ModuleList([nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)])
    tied[1].weight = nn.Parameter(tied[0].weight.detach())
    assert weights_mb(tied) == pytest.approx(8 * 8 * 4 / 1e6)


def test_what_a_stage_names_and_what_the_user_names_stays_in_float32(model):
    settings = QuantizationSettings('int8_weight', exclude=('self_attn',))
    small = quantize(model, settings, ('down_proj',))
    layer = small.layers[1]
    assert isinstance(layer.self_attn.q_proj, nn.Linear)
    assert isinstance(layer.mlp.down_proj, nn.Linear)
    assert not isinstance(layer.mlp.up_proj, nn.Linear)


def test_names_of_nothing_are_refused_with_those_that_exist(model):
    with pytest.raises(InvalidSettingError, match=r"'attention'.*expected one of.*self_attn"):
        quantize(model, QuantizationSettings('nf4', exclude=('attention',)))
    with pytest.raises(InvalidSettingError, match='bf16'):
        build(QuantizationSettings, {'mode': 'bf16', 'exclude': ['self_attn']})


def test_groups_are_whole_bytes():
    with pytest.raises(InvalidSettingError, match='multiple of 8'):
        build(QuantizationSettings, {'group_size': 20})


def test_smaller_groups_err_less(model):
    inputs = torch.randn(1, 5, 64)
    exact = run(model, inputs)
    errors = []
    for group in (8, 64):
        small = quantize(copy.deepcopy(model), QuantizationSettings('int4_weight', group))
        errors.append((run(small, inputs) - exact).norm())
    assert errors[0] < 0.8 * errors[1]


def test_unknown_mode_is_refused(model):
    with pytest.raises(ValueError, match='int4'):
        quantize(model, 'int4')
