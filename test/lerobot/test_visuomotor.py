# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""ACT and Diffusion Policy as stages: the robot's names and units in, its rows out."""

import numpy as np
import pytest
import torch
from lerobot_folders import FIXTURES, observation, reference, rewrite

from efficient_vla.action.settings import ActorSettings
from efficient_vla.lerobot.diffusion import DiffusionPolicy, network_of
from efficient_vla.lerobot.folder import open_folder
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import ControlMode, InvalidRecordError

DT = 0.1
JOINTS = {
    'joints_names': ('pan', 'lift', 'elbow', 'wrist', 'roll', 'jaw'),
    'joints_unit': ('rad',),
    'joints_mode': 'joint_position',
    'joints_rate': 1 / DT,
    'device': 'cpu',
}
"""A robot that counts as the dataset does."""


def seen(name):
    """Return images by camera, and the state, as a robot gives them."""
    raw = observation(name)
    prefix = 'observation.images.'
    images = {k.removeprefix(prefix): v for k, v in raw.items() if k.startswith(prefix)}
    return images, raw['observation.state']


@pytest.fixture(scope='module')
def act():
    return Policy.from_pretrained(FIXTURES / 'act', **JOINTS)


def test_a_chunk_of_act_is_that_of_lerobot_in_the_names_of_the_robot(act):
    images, state = seen('act')
    chunk = act.act(images, 'stack the blocks', state=state, stamp=2.0)
    np.testing.assert_allclose(chunk.actions, reference('act')['actions'][0], atol=1e-3)
    assert (chunk.names, chunk.dt) == (JOINTS['joints_names'], DT)
    assert chunk.control_mode is ControlMode.JOINT_POSITION
    assert (chunk.stamp, chunk.instruction) == (2.0, 'stack the blocks')


def test_units_and_signs_of_the_robot_are_converted_on_both_sides():
    images, state = seen('act')
    turned = {
        **JOINTS,
        'joints_unit': ('deg',) * 5 + ('signed_percent',),
        'joints_sign': (-1.0,) * 5 + (1.0,),
        'joints_low': (0.0,) * 5 + (-2.0,),
        'joints_high': (0.0,) * 5 + (2.0,),
        'joints_overshoot': 1.0,
    }
    policy = Policy.from_pretrained(FIXTURES / 'act', **turned)
    robot = np.append(-state[:5] * np.pi / 180, state[5] / 100 * 2)
    chunk = policy.act(images, 'go', state=robot, stamp=0.0)
    expected = reference('act')['actions'][0]
    np.testing.assert_allclose(chunk.actions[:, :5], -expected[:, :5] * np.pi / 180, atol=1e-4)
    np.testing.assert_allclose(chunk.actions[:, 5], expected[:, 5] / 100 * 2, atol=1e-4)


def test_only_the_rows_that_lerobot_executes_are_given(copied):
    folder = copied('act')
    rewrite(folder, 'config.json', lambda config: config.update(n_action_steps=3))
    images, state = seen('act')
    chunk = Policy.from_pretrained(folder, **JOINTS).act(images, 'go', state=state, stamp=0.0)
    np.testing.assert_allclose(chunk.actions, reference('act')['actions'][0, :3], atol=1e-3)
    assert folder_facts(folder).horizon == 3


def test_chunks_that_are_averaged_are_given_to_their_end(copied):
    folder = copied('act')
    change = {'n_action_steps': 1, 'temporal_ensemble_coeff': 0.01}
    rewrite(folder, 'config.json', lambda config: config.update(change))
    images, state = seen('act')
    chunk = Policy.from_pretrained(folder, **JOINTS).act(images, 'go', state=state, stamp=0.0)
    assert len(chunk.actions) == 8


def test_an_image_of_another_size_is_refused_by_camera(act):
    images, state = seen('act')
    images['wrist'] = np.zeros((96, 128, 3), np.uint8)
    with pytest.raises(InvalidRecordError, match="'wrist' is 128x96 pixels; expected 64x48"):
        act.act(images, 'go', state=state, stamp=0.0)


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'joints_rate': 0.0}, 'joints.rate is 0; expected the rows a second'),
        ({'joints_names': ()}, 'joints.names is empty; expected a joint'),
        ({'joints_names': ('a', 'b')}, 'has 2 names'),
        ({'joints_unit': ()}, 'joints.unit is empty'),
        ({'joints_mode': 'unknown'}, 'joints.mode is unknown'),
        ({'architecture': 'single'}, 'architecture is single .*expected dual'),
        ({'pruning_method': 'fastv'}, 'pruning.method is fastv; expected none, since the policy'),
        ({'reuse_method': 'vla_cache'}, 'reuse.method is vla_cache; expected none'),
        ({'cache_method': 'reuse'}, 'cache.method is reuse; expected none'),
        ({'quantization_mode': 'bf16'}, 'quantization.mode is bf16; expected none'),
        ({'signals': True}, 'signals is true; expected false'),
        ({'unnorm_key': 'so100'}, "unnorm_key is 'so100'; expected ''"),
    ],
)
def test_what_the_folder_leaves_open_or_cannot_do_is_said_before_anything_moves(change, expected):
    with pytest.raises(InvalidSettingError, match=expected):
        Policy.from_pretrained(FIXTURES / 'act', **JOINTS | change)


def test_features_are_not_computed_again_in_other_steps_of_diffusion():
    with pytest.raises(InvalidSettingError, match='cache_every is 2; expected 1'):
        Policy.from_pretrained(FIXTURES / 'diffusion', **JOINTS, diffusion_cache_every=2)


def test_facts_name_cameras_and_their_sizes():
    facts = folder_facts(FIXTURES / 'diffusion')
    assert facts.cameras == {'front': (48, 64), 'wrist': (48, 64)}
    assert (facts.kind, facts.state_width, facts.action_width, facts.dt) == (
        'diffusion',
        6,
        6,
        None,
    )
    assert facts.normalisation == {'state': 'MIN_MAX', 'action': 'MIN_MAX', 'images': 'MEAN_STD'}
    assert facts.tokenizer is None
    assert 'reasoner.pruning.method' in facts.refused


@pytest.fixture
def diffusion():
    folder = open_folder(FIXTURES / 'diffusion')
    with torch.inference_mode():
        yield folder, DiffusionPolicy(folder, network_of(folder), DT)


def batches(folder):
    """Return two observations that differ in the state alone."""
    raw = observation('diffusion')
    first = folder.preprocess(raw)
    other = raw['observation.state'] + np.float32(20)
    return first, folder.preprocess(raw | {'observation.state': other})


def test_diffusion_looks_at_the_observation_one_row_before(diffusion):
    folder, policy = diffusion
    first, second = batches(folder)
    alone, _, note = policy.act(second, 1.0)
    assert note == ''
    policy.reset()
    policy.act(first, 0.9)
    network = policy._network
    told = [network.describe(first), network.describe(second)]
    random = torch.Generator().manual_seed(0)
    for _ in range(2):
        noise = torch.randn(1, network.horizon, 6, generator=random)
    expected = network(told, noise, random)
    got, steps, note = policy.act(second, 1.0)
    assert (steps, note) == (5, '')
    torch.testing.assert_close(got, expected)
    assert not torch.allclose(got, alone)


def test_an_observation_that_is_not_there_is_noted(diffusion):
    folder, policy = diffusion
    first, second = batches(folder)
    policy.act(first, 1.0)
    _, _, note = policy.act(second, 1.5)
    assert 'observation 0.1 s away' in note
    assert policy.act(first, 1.6)[2] == ''


def test_an_episode_repeats_itself_after_a_reset(diffusion):
    folder, policy = diffusion
    first, second = batches(folder)
    runs = []
    for _ in range(2):
        policy.reset()
        runs.append([policy.act(first, 1.0)[0], policy.act(second, 1.1)[0]])
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)
    assert not torch.equal(runs[0][0], policy.act(first, 1.2)[0])


def test_steps_and_noise_of_diffusion_are_parameters(diffusion):
    folder, policy = diffusion
    first, _ = batches(folder)

    def made(**settings):
        policy.reset()
        policy.configure(build(ActorSettings, settings))
        chunk, steps, _ = policy.act(first, 1.0)
        return chunk, steps

    own, steps = made()
    assert steps == 5
    few, steps = made(**{'diffusion.steps': 2})
    assert steps == 2
    assert not torch.allclose(few, own)
    other, _ = made(seed=3)
    assert not torch.allclose(other, own)
    torch.testing.assert_close(made()[0], own, rtol=0, atol=0)
    with pytest.raises(InvalidSettingError, match=r'steps is 21; expected at most 20'):
        made(**{'diffusion.steps': 21})
