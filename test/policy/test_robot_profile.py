# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The profile of a robot says in Python what ``--robot`` says on the command line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fixtures.metaworld_folders import fitted
from fixtures.profiles import so101

from efficient_vla.bringup.fit import misfits, robot_of
from efficient_vla.bringup.graph import ProfileError, Selection, describe
from efficient_vla.policy import Policy, default_policy
from efficient_vla.policy_folders import FolderFacts
from efficient_vla.settings import InvalidSettingError

LEROBOT = Path(__file__).resolve().parents[1] / 'fixtures' / 'lerobot'
SO101 = {
    'joints_names': (
        'shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'jaw',
    ),
    'joints_unit': ('deg', 'deg', 'deg', 'deg', 'deg', 'percent'),
    'joints_sign': (1.0, -1.0, 1.0, 1.0, 1.0, 1.0),
    'joints_offset': (0.0, -1.57, 1.57, 0.0, 0.0, 0.0),
    'joints_low': (-0.17,),
    'joints_high': (1.75,),
    'joints_mode': 'joint_position',
    'joints_rate': 30.0,
}  # fmt: skip
"""What the profile of the page says of the joints."""


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HF_HUB_CACHE', str(LEROBOT / 'hub'))


def act(policy: Policy):
    images = {name: np.full((48, 64, 3), 90, np.uint8) for name in ('front', 'wrist')}
    return policy.act(images, 'open the drawer', state=np.full(6, 0.1, np.float32), stamp=1.0)


def test_a_profile_gives_the_chunk_that_its_values_give(tmp_path: Path) -> None:
    by_words = act(Policy.from_pretrained(LEROBOT / 'act', device='cpu', **SO101))
    by_profile = act(Policy.from_pretrained(LEROBOT / 'act', device='cpu', robot=so101(tmp_path)))
    np.testing.assert_array_equal(by_profile.actions, by_words.actions)
    assert by_profile.names == SO101['joints_names']
    assert by_profile.dt == pytest.approx(1 / 30)


def test_keywords_are_stronger_than_the_profile(tmp_path: Path) -> None:
    policy = Policy.from_pretrained(LEROBOT / 'act', robot=so101(tmp_path), joints_rate=10.0)
    assert act(policy).dt == pytest.approx(0.1)


def test_the_profile_says_which_cameras_there_are(tmp_path: Path) -> None:
    profile = so101(tmp_path, ('    joints:', '    cameras: [front, wrist]\n    joints:'))
    assert Policy.from_pretrained(LEROBOT / 'pi0', robot=profile).perception.cameras == (
        'front',
        'wrist',
    )


def test_a_shipped_profile_is_named_and_says_what_the_graph_gets(tmp_path: Path) -> None:
    folder = fitted('act', tmp_path / 'act')
    actor = Policy.from_pretrained(folder, robot='metaworld').actor
    told = describe(Selection(robot='metaworld', policy=str(folder))).parameters['actor']
    assert list(actor.state_names) == told['joints.names'] == ['x', 'y', 'z', 'gripper']
    assert 1 / actor.joints.dt == pytest.approx(told['joints.rate'])


def test_more_than_joints_is_taken_of_a_profile() -> None:
    policy = default_policy()
    plain, met = (Policy.from_pretrained(policy, robot=robot) for robot in ('', 'metaworld'))
    assert any(met.reasoner._settings.pruning.protect.projection)
    assert not any(plain.reasoner._settings.pruning.protect.projection)


def test_a_policy_of_another_robot_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingError, match=r'looks through front, wrist; metaworld has'):
        Policy.from_pretrained(LEROBOT / 'act', robot='metaworld')
    slow = so101(tmp_path, ('rate: 30.0', 'rate: 0.0'))
    with pytest.raises(InvalidSettingError, match=r'joints\.rate is 0'):
        Policy.from_pretrained(LEROBOT / 'act', robot=slow)


def test_a_profile_that_is_nowhere_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"robot 'so102' is unknown; expected .*metaworld"):
        Policy.from_pretrained(LEROBOT / 'act', robot='so102')
    damaged = so101(tmp_path, ('rate: 30.0', 'rate: :'))
    with pytest.raises(ProfileError, match=r'so101\.yaml.*is not YAML'):
        Policy.from_pretrained(LEROBOT / 'act', robot=damaged)


@pytest.mark.parametrize(
    ('word', 'value'),
    [('joints.sign', [1.0]), ('joints.low', [-0.2]), ('unnorm_key', 'so100')],
)
def test_actor_and_reasoner_are_told_the_same_of_the_state(tmp_path: Path, word, value) -> None:
    profile = so101(tmp_path, ('    joints:', '    cameras: [front, wrist]\n    joints:'))
    chosen = Selection(robot=str(profile), policy=str(LEROBOT / 'pi0'))
    describe(chosen)
    with pytest.raises(ProfileError, match=rf'different values of {word}; expected the same'):
        describe(replace(chosen, overrides={f'reasoner.{word}': value}))
    describe(replace(chosen, overrides={'actor.joints.rate': 15.0}))


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({}, None),
        ({'joints.unit': ('rad',) * 5 + ('percent',)}, 'learned positions from -60 to 80 for pan'),
        ({'joints.offset': (0.0, 1.5, 0.0, 0.0, 0.0, 0.0)}, 'for lift, whose limits are -1.8 to'),
        ({'joints.names': ('lift', 'pan', 'elbow', 'flex', 'roll', 'jaw')}, 'for lift, whose'),
    ],
)
def test_positions_learned_outside_the_joints_are_refused(change, said) -> None:
    names = ('pan', 'lift', 'elbow', 'flex', 'roll', 'jaw')
    values = {
        'joints.names': names,
        'joints.unit': ('deg',) * 5 + ('percent',),
        'joints.low': (0.0,) * 5 + (-0.17,),
        'joints.high': (0.0,) * 5 + (1.75,),
        'joints.mode': 'joint_position',
        'joints.rate': 30.0,
        **change,
    }
    limits = {
        'names': values['joints.names'],
        'limits.position_low': (-1.9, -1.8, -1.7, -1.7, -2.7, -0.2),
        'limits.position_high': (1.9, 0.2, 1.7, 1.7, 2.8, 1.8),
    }
    learned = ((-60, 80), (-95, 5), (-20, 90), (-50, 50), (-100, 100), (0, 100))
    facts = FolderFacts('lerobot', 'act', {}, state_width=6, action_width=6, learned=learned)
    if values['joints.names'] != names:
        limits['limits.position_low'] = (-1.8, -1.9, -1.7, -1.7, -2.7, -0.2)
        limits['limits.position_high'] = (0.2, 1.9, 1.7, 1.7, 2.8, 1.8)
    robot = robot_of('own', {'actor': values, 'reasoner': values, 'controller': limits})
    found = misfits(facts, robot)
    assert (found == []) if said is None else (said in found[0])
