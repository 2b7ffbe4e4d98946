# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Shapes of published models run, small, from image to plan."""

import pytest
import torch
from transformers import AutoModel

from benchmarks.full_shapes import built, measure
from efficient_vla.training.published import MODELS


@pytest.mark.parametrize(('name', 'cases'), [('TinyVLA-H', 4), ('RoboMamba-2.8B', 3)])
def test_the_systems_of_other_decoders_are_timed_by_what_they_can_do(name, cases):
    row = measure(name, True, torch.device('cpu'), 1)
    assert row['visual_tokens'] == (336 // 14) ** 2
    assert len([key for key in row if key.endswith('_ms')]) == 1 + cases
    assert ('reuse 0.9_ms' in row) == (cases == 4), 'a state space keeps no keys and values'


@pytest.mark.parametrize(
    ('name', 'kind', 'billions'),
    [('TinyVLA-H', 'gpt_neox', 1.3), ('RoboMamba-2.8B', 'mamba', 2.77)],
)
def test_a_full_shape_has_as_many_weights_as_the_published_decoder(name, kind, billions):
    config = MODELS[name][0](False).text_config
    assert config.model_type == kind
    with torch.device('meta'):
        decoder = AutoModel.from_config(config)
    # Pythia's 1.41 B and Mamba's 2.77 B, less Pythia's head of words, which this has not.
    count = sum(weight.numel() for weight in decoder.parameters()) / 1e9
    assert count == pytest.approx(billions, rel=0.02)


def test_a_small_shape_keeps_the_patches():
    _, trunk, pixels = built('TinyVLA-H', True, torch.device('cpu'), torch.float32)
    assert pixels.shape == (1, 3, 336, 336)
    assert trunk.parts.model.config.hidden_size == 64
