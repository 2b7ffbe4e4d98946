# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""ACT and Diffusion Policy as stages: the robot's names and units in, its rows out."""

import numpy as np
import pytest
import torch
from lerobot_folders import FIXTURES, observation, reference, rewrite

from efficient_vla.action.settings import ActorSettings
from efficient_vla.lerobot.diffusion_network import DiffusionNetwork
from efficient_vla.lerobot.folder import open_folder
from efficient_vla.lerobot.visuomotor import network_of
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.stages import looking_back
from efficient_vla.types import ControlMode, Frame, InvalidRecordError, Plan

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
    assert len(chunk.actions) == folder_facts(folder).horizon == 8


def test_an_image_of_another_size_is_refused_by_camera(act):
    images, state = seen('act')
    images['wrist'] = np.zeros((96, 128, 3), np.uint8)
    with pytest.raises(InvalidRecordError, match="'wrist' is 128x96 pixels; expected 64x48"):
        act.act(images, 'go', state=state, stamp=0.0)


@pytest.mark.parametrize(
    ('given', 'architecture'), [('auto', 'dual'), ('dual', 'dual'), ('single', 'single')]
)
def test_chunks_may_follow_the_images_or_the_plans(given, architecture):
    actor = Policy.from_pretrained(FIXTURES / 'act', **JOINTS, architecture=given).actor
    assert (actor.architecture, actor.needs_image) == (architecture, True)


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'joints_rate': 0.0}, 'joints.rate is 0; expected the rows a second'),
        ({'joints_names': ()}, 'joints.names is empty; expected a joint'),
        ({'joints_names': ('a', 'b')}, 'has 2 names'),
        ({'joints_unit': ()}, 'joints.unit is empty'),
        ({'joints_mode': 'unknown'}, 'joints.mode is unknown'),
        ({'head': 'flow', 'architecture': 'single'}, 'head is flow; expected auto'),
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
    return Policy.from_pretrained(FIXTURES / 'diffusion', **JOINTS).actor


PLAN = Plan(np.zeros((1, 1), np.float32), 'go', 0.0, 60.0)


def frames(*stamps):
    """Return frames whose states differ."""
    images, state = seen('diffusion')
    return [Frame(images, state + np.float32(20 * n), t) for n, t in enumerate(stamps)]


def told_of(*taken):
    """Return the first chunk of a policy that is told of these frames, the newest last."""
    folder = open_folder(FIXTURES / 'diffusion')
    network = network_of(folder, DiffusionNetwork, 'diffusion')
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        batches = [
            folder.preprocess(
                {f'observation.images.{k}': v for k, v in frame.images.items()}
                | {'observation.state': frame.state}
            )
            for frame in taken
        ]
        noise = torch.randn(1, network.horizon, 6, generator=random)
        chunk = network([network.describe(batch) for batch in batches], noise, random)
        return folder.postprocess(chunk, batches[-1])[0].numpy()


def test_diffusion_looks_at_the_frame_one_row_before(diffusion):
    first, between, last = frames(0.9, 0.95, 1.0)
    assert diffusion.looks_back == pytest.approx(DT)
    for frame in (first, between, last):
        diffusion.see(frame)
    chunk = diffusion.chunk(PLAN, last)
    assert (chunk.steps, chunk.note) == (5, '')
    np.testing.assert_allclose(chunk.actions, told_of(first, last), atol=1e-3)
    assert np.abs(chunk.actions - told_of(between, last)).max() > 1e-2


def test_the_first_frame_of_an_episode_stands_for_those_before_it(diffusion):
    first, second = frames(1.0, 1.02)
    chunk = diffusion.chunk(PLAN, first)
    assert chunk.note == ''
    np.testing.assert_allclose(chunk.actions, told_of(first, first), atol=1e-3)
    diffusion.reset()
    diffusion.see(first)
    chunk = diffusion.chunk(PLAN, second)
    assert chunk.note == ''
    np.testing.assert_allclose(chunk.actions, told_of(first, second), atol=1e-3)


def test_frames_that_came_since_the_chunk_was_asked_for_are_not_in_it(diffusion):
    first, second, third = frames(0.9, 1.0, 1.1)
    for frame in (first, second, third):
        diffusion.see(frame)
    np.testing.assert_allclose(
        diffusion.chunk(PLAN, second).actions, told_of(first, second), atol=1e-3
    )


def test_a_frame_that_is_not_there_is_noted(diffusion):
    first, second, third = frames(1.0, 1.5, 1.6)
    diffusion.chunk(PLAN, first)
    chunk = diffusion.chunk(PLAN, second)
    assert 'a frame 0.1 s away' in chunk.note
    assert 'frames 0.1 s apart' in chunk.note
    assert diffusion.chunk(PLAN, third).note == ''


def test_a_clock_that_was_set_back_begins_anew(diffusion):
    late, early = frames(100.0, 1.0)
    diffusion.see(late)
    chunk = diffusion.chunk(PLAN, early)
    assert chunk.note == ''
    np.testing.assert_allclose(chunk.actions, told_of(early, early), atol=1e-3)


def test_another_frame_of_the_same_time_is_looked_at(act, diffusion):
    one, other = frames(1.0, 1.0)
    for actor in (act.actor, diffusion):
        actor.reset()
        expected = actor.chunk(PLAN, other).actions
        actor.reset()
        actor.chunk(PLAN, one)
        actor._policy.reset()
        np.testing.assert_allclose(actor.chunk(PLAN, other).actions, expected, atol=1e-3)


def test_frames_are_not_kept_for_ever(diffusion):
    for frame in frames(*np.arange(0, 20, 0.05)):
        diffusion.see(frame)
    assert len(diffusion._frames._frames) <= 0.6 / 0.05 + 2


def test_an_episode_repeats_itself_after_a_reset(diffusion):
    first, second, third = frames(1.0, 1.1, 1.2)
    runs = []
    for _ in range(2):
        diffusion.reset()
        runs.append([diffusion.chunk(PLAN, frame).actions for frame in (first, second)])
    np.testing.assert_array_equal(runs[0], runs[1])
    diffusion.chunk(PLAN, third)
    diffusion._frames.clear()
    assert not np.array_equal(runs[0][0], diffusion.chunk(PLAN, third).actions)


def test_act_looks_at_the_newest_frame_alone(act, diffusion):
    assert looking_back(act.actor) is None
    assert looking_back(diffusion) is diffusion


def test_steps_and_noise_of_diffusion_are_parameters(diffusion):
    (frame,) = frames(1.0)

    def made(**settings):
        diffusion.reset()
        diffusion.configure(build(ActorSettings, settings))
        return diffusion.chunk(PLAN, frame)

    own = made()
    assert own.steps == 5
    few = made(**{'diffusion.steps': 2})
    assert few.steps == 2
    assert not np.allclose(few.actions, own.actions)
    assert not np.allclose(made(seed=3).actions, own.actions)
    np.testing.assert_array_equal(made().actions, own.actions)
    with pytest.raises(InvalidSettingError, match='steps is 21; expected at most 20'):
        made(**{'diffusion.steps': 21})
