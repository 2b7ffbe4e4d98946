# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Samplers step as diffusers does; what DDPM draws is compared with numbers it printed."""

from pathlib import Path

import pytest
import torch

from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.noise_schedule import NoiseSchedule

CONFIG = {'num_train_timesteps': 6, 'num_inference_steps': 3}


def schedule(**changes):
    return NoiseSchedule(Fields(Path('config.json'), CONFIG | changes))


@pytest.mark.parametrize(
    ('told', 'expected'),
    [
        ('epsilon', [0.272125244140625, -0.8204159736633301]),
        ('sample', [-0.04470905661582947, -0.0463283397257328]),
    ],
)
def test_ddpm_draws_noise_between_its_steps_as_diffusers_does(told, expected):
    made = schedule(noise_scheduler_type='DDPM', prediction_type=told).sample(
        lambda x, time: 0.3 * x + 0.1 * time / 6,
        torch.tensor([[[0.5, -1.5]]]),
        torch.Generator().manual_seed(5),
    )
    torch.testing.assert_close(made, torch.tensor([[expected]]))


def test_without_a_number_of_steps_all_of_training_are_walked():
    assert schedule(num_inference_steps=None).times == (5, 4, 3, 2, 1, 0)
    assert schedule(num_inference_steps=4).times == (3, 2, 1, 0)
    assert schedule().times == (4, 2, 0)


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'num_inference_steps': 7}, 'num_inference_steps is 7; expected a whole number .* to 6'),
        ({'num_train_timesteps': 0}, 'num_train_timesteps is 0'),
        ({'prediction_type': 'v_prediction'}, "'v_prediction'; expected epsilon or sample"),
        ({'noise_scheduler_type': 'PNDM'}, "'PNDM'; expected DDPM or DDIM"),
        ({'beta_schedule': 'sigmoid'}, "'sigmoid'; expected squaredcos_cap_v2"),
        ({'beta_schedule': 'linear', 'beta_end': 2}, 'beta_end is 2'),
        ({'clip_sample_range': None}, 'clip_sample_range is None'),
    ],
)
def test_a_sampler_of_another_kind_is_refused(changes, expected):
    with pytest.raises(CheckpointError, match=expected):
        schedule(**changes)
