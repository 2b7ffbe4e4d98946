# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Number formats: neutral is identical, the others are close and smaller."""

import copy

import pytest
import torch
from transformers import AutoModel, LlamaConfig

from efficient_vla.compression.quantization import quantize
from efficient_vla.tensors import weights_mb


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
            vocab_size=16,
        )
    ).eval()


@torch.inference_mode()
def run(model, inputs):
    return model(inputs_embeds=inputs.to(model.embed_tokens.weight.dtype)).last_hidden_state.float()


def test_identity_none_changes_nothing(model):
    inputs = torch.randn(1, 5, 64)
    assert torch.equal(run(quantize(copy.deepcopy(model), 'none'), inputs), run(model, inputs))


@pytest.mark.parametrize(('mode', 'tolerance'), [('bf16', 0.03), ('int8_dynamic', 0.05)])
def test_reduced_formats_are_close_and_smaller(model, mode, tolerance):
    inputs = torch.randn(1, 5, 64)
    small = quantize(copy.deepcopy(model), mode)
    exact = run(model, inputs)
    error = (run(small, inputs) - exact).norm() / exact.norm()
    assert 0 < error < tolerance
    assert weights_mb(small) < 0.6 * weights_mb(model)


def test_unknown_mode_is_refused(model):
    with pytest.raises(ValueError, match='int4'):
        quantize(model, 'int4')
