# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Columns of a policy as the robot counts them, against numbers computed by hand."""

import math

import numpy as np
import pytest

from efficient_vla.action.settings import ActorSettings
from efficient_vla.joint_settings import JointSettings
from efficient_vla.joints import Joints, doubts, faults, joints_of
from efficient_vla.policy import SETTINGS, Policy
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import ControlMode, InvalidRecordError, RefusedChunkError

ARM = ('shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll')
FEATURES = tuple(f'{name}.pos' for name in (*ARM, 'gripper'))
SO101 = {
    'names': (*ARM, 'jaw'),
    'unit': ('deg',) * 5 + ('percent',),
    'sign': (1, -1, 1, 1, -1, 1),
    'offset': (0.1, -0.2, 0.0, 0.0, 0.05, 0.0),
    'low': (-0.2,),
    'high': (1.8,),
    'mode': 'joint_position',
    'rate': 30.0,
}


def settings(**changes) -> JointSettings:
    values = {f'joints.{name}': value for name, value in (SO101 | changes).items()}
    return build(ActorSettings, values).joints


def joints(**changes) -> Joints:
    return joints_of(settings(**changes), 6, 6, FEATURES)


def test_degrees_count_from_the_offset_and_the_gripper_along_its_range():
    rows = joints().rows_to_robot(np.array([[90.0, 45.0, 0.0, -180.0, 10.0, 25.0]]))
    expected = [
        math.pi / 2 + 0.1,
        -math.pi / 4 - 0.2,
        0.0,
        -math.pi,
        -math.pi / 18 + 0.05,
        -0.2 + 0.25 * 2.0,
    ]
    np.testing.assert_allclose(rows, [expected], rtol=1e-6)
    assert rows.dtype == np.float32


def test_the_state_goes_the_other_way():
    robot = [math.pi / 2 + 0.1, -math.pi / 4 - 0.2, 0.0, -math.pi, -math.pi / 18 + 0.05, 0.3]
    state = joints().state_to_policy(np.array(robot))
    np.testing.assert_allclose(state, [90, 45, 0, -180, 10, 25], rtol=1e-6)


def test_rows_of_the_robot_lead_back_to_those_of_the_policy():
    rows = np.array([[12.0, -7.0, 3.0, 100.0, -30.0, 80.0]])
    found = joints()
    np.testing.assert_allclose(found.rows_to_policy(found.rows_to_robot(rows)), rows, rtol=1e-5)


@pytest.mark.parametrize(
    ('unit', 'value', 'expected'),
    [
        ('signed_percent', 0.0, 0.8),
        ('signed_percent', -100.0, -0.2),
        ('share', 0.75, 1.3),
        ('mm', 25.0, 0.025),
        ('rad', 0.3, 0.3),
    ],
)
def test_every_unit_is_what_it_says(unit, value, expected):
    found = joints(
        names=('a', 'b', 'c', 'd', 'e', 'f'),
        unit=(unit,),
        sign=(1.0,),
        offset=(0.0,),
    )
    np.testing.assert_allclose(found.rows_to_robot(np.full((1, 6), value)), expected, rtol=1e-6)


def test_a_range_may_run_the_other_way():
    found = joints(low=(1.0,), high=(-1.0,))
    assert found.rows_to_robot(np.array([[0, 0, 0, 0, 0, 75.0]]))[0, 5] == pytest.approx(-0.5)


def test_displacements_take_sign_and_unit_but_neither_offset_nor_ends():
    found = joints(mode='joint_delta')
    rows = found.rows_to_robot(np.array([[9.0, 9.0, 0.0, 0.0, 0.0, -5.0]]))
    np.testing.assert_allclose(rows[0, [0, 1, 5]], [math.pi / 20, -math.pi / 20, -0.1], rtol=1e-6)
    # The state is a position all the same.
    state = found.state_to_policy(np.array([0.1, -0.2, 0, 0, 0.05, 0.8]))
    np.testing.assert_allclose(state, [0, 0, 0, 0, 0, 50], atol=1e-5)
    assert found.control_mode is ControlMode.JOINT_DELTA


def test_a_small_overshoot_saturates_and_a_larger_one_is_refused():
    found = joints(overshoot=0.05)
    row = np.array([[0, 0, 0, 0, 0, 104.0]])
    assert found.rows_to_robot(row)[0, 5] == pytest.approx(1.8)
    with pytest.raises(RefusedChunkError, match=r'chunk has 1\.92 for jaw; expected -0\.2 to 1\.8'):
        found.rows_to_robot(row + 2)
    with pytest.raises(InvalidRecordError, match=r'state has -0\.4 for jaw') as refused:
        found.state_to_policy(np.array([0, 0, 0, 0, 0, -0.4]))
    assert not isinstance(refused.value, RefusedChunkError)
    assert found.state_to_policy(np.array([0, 0, 0, 0, 0, -0.25]))[5] == 0


def test_a_space_of_the_end_effector_passes_unchanged():
    found = joints_of(
        settings(
            names=('x', 'y', 'z', 'gripper'),
            unit=('m', 'm', 'm', 'effort'),
            sign=(1.0,),
            offset=(0.0,),
            mode='ee_delta',
            rate=80.0,
        ),
        4,
        4,
    )
    row = np.array([[0.01, -0.02, 0.03, -1.0]], np.float32)
    assert np.array_equal(found.rows_to_robot(row), row)
    assert np.array_equal(found.state_to_policy(row[0]), row[0])
    assert (found.dt, found.control_mode) == (0.0125, ControlMode.EE_DELTA)
    # An effort saturates as a position does; what is measured of the gripper has no such ends.
    assert found.rows_to_robot(row * 1.1)[0, 3] == -1
    with pytest.raises(InvalidRecordError, match=r'chunk has -1\.3 for gripper'):
        found.rows_to_robot(row * 1.3)
    assert found.state_to_policy(row[0] * 5)[3] == -5


@pytest.mark.parametrize('mode', ['ee_delta', 'ee_position'])
def test_an_effort_may_count_the_other_way_round(mode):
    turned = settings(
        names=('x', 'gripper'), unit=('m', 'effort'), sign=(1, -1), offset=(0,), mode=mode
    )
    found = joints_of(turned, 2, 2)
    rows = found.rows_to_robot(np.array([[0.2, 0.75], [0.2, -1.1]]))
    np.testing.assert_allclose(rows, [[0.2, -0.75], [0.2, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(found.rows_to_policy(rows[:1]), [[0.2, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(found.state_to_policy(np.array([0.2, 0.04])), [0.2, 0.04])


def test_a_state_may_have_other_columns_than_an_action():
    found = joints_of(settings(state_names=('jaw', 'load')), 2, 6)
    np.testing.assert_allclose(found.state_to_policy(np.array([0.8, 3.0])), [50, 3], rtol=1e-6)
    assert found.state_names == ('jaw', 'load')
    assert joints_of(settings(), 0, 6).state_to_policy(np.zeros(0)).shape == (0,)


SWAPPED = (ARM[1], ARM[0], *ARM[2:], 'jaw')


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'names': ()}, r'joints\.names is empty; .*shoulder_pan\.pos'),
        ({'names': ARM}, r'5 names .* for the 6 columns'),
        ({'names': SWAPPED}, r'shoulder_lift in column 1, where the folder has shoulder_pan\.pos'),
        ({'unit': ()}, r'joints\.unit is empty'),
        ({'mode': 'unknown'}, r'joints\.mode is unknown'),
        ({'rate': 0.0}, r'joints\.rate is 0; .*fps'),
        ({'state_names': ('a', 'b')}, r'state of the policy has 6 columns for the names a, b'),
    ],
)
def test_what_the_folder_needs_and_nobody_said_is_one_sentence(changes, reason):
    lists = {'unit': ('rad',), 'sign': (1.0,), 'offset': (0.0,)}
    wanted = settings(**lists | changes)
    with pytest.raises(InvalidSettingError, match=reason):
        joints_of(wanted, 6, 6, FEATURES)


def test_a_gripper_of_the_folder_is_not_in_degrees_under_another_name():
    wanted = settings(names=(*ARM, 'clamp'), unit=('deg',), sign=(1.0,), offset=(0.0,))
    with pytest.raises(InvalidSettingError, match=r'clamp is deg while the folder calls .* grip'):
        joints_of(wanted, 6, 6, FEATURES)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'unit': ('deg',) * 6}, r'unit of jaw is deg; expected percent'),
        ({'unit': ('furlong',)}, r'furlong.*expected one of rad, deg'),
        ({'names': (*ARM, 'gripper')}, r'unit of gripper is percent; expected effort'),
        ({'unit': ('effort',) * 6}, r'unit of shoulder_pan is effort; expected effort for a col'),
        ({'names': (*ARM, ARM[0])}, r'none empty or twice'),
        ({'sign': (1.0, -1.0)}, r'joints\.sign has 2 values for 6 names'),
        ({'sign': (0.5,)}, r'expected 1 or -1'),
        ({'high': (-0.2,)}, r'joints\.low and joints\.high of jaw are both -0\.2'),
        ({'offset': (0.1,)}, r'joints\.sign and joints\.offset of jaw are 1 and 0\.1'),
        (
            {'names': (*ARM, 'gripper'), 'unit': ('deg',) * 5 + ('effort',), 'offset': (0.1,)},
            r'joints\.offset of gripper is 0\.1; expected 0 for a column in effort',
        ),
        ({'rate': 0.001}, r'joints\.rate is 0\.001 Hz'),
    ],
)
@pytest.mark.parametrize('kind', [ActorSettings, ReasonerSettings])
def test_what_no_robot_can_have_is_refused_by_the_settings(kind, changes, reason):
    values = {f'joints.{name}': value for name, value in (SO101 | changes).items()}
    with pytest.raises(InvalidSettingError, match=reason):
        build(kind, values)


def test_all_that_is_missing_can_be_listed():
    found = faults(JointSettings(), 6, 6, FEATURES)
    assert [text.partition(' ')[0] for text in found] == [
        'joints.names',
        'joints.unit',
        'joints.mode',
        'joints.rate',
    ]


def test_keywords_of_a_policy_reach_state_and_actions_alike(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        Policy, 'from_settings', classmethod(lambda cls, path, given: seen.update(given))
    )
    keywords = {f'joints_{name}': value for name, value in SO101.items()}
    Policy.from_pretrained('passthrough', unnorm_key='bridge', **keywords)
    assert seen['actor'].joints == seen['reasoner'].joints == settings()
    assert seen['actor'].unnorm_key == seen['reasoner'].unnorm_key == 'bridge'
    assert set(seen) == set(SETTINGS)


@pytest.mark.parametrize(
    ('unit', 'learned', 'likely'),
    [
        ('rad', (-80.0, 95.0), 'deg'),
        ('rad', (-3.1, 6.3), ''),
        ('deg', (-1.6, 1.4), 'rad'),
        ('deg', (-40.0, 12.0), ''),
        ('percent', (0.0, 1.0), 'share'),
        ('percent', (1.0, 97.0), ''),
        ('share', (2.0, 99.0), 'percent'),
        ('share', (-98.0, 99.0), 'signed_percent'),
        ('m', (120.0, 480.0), 'mm'),
        ('m', (0.1, 0.6), ''),
    ],
)
def test_numbers_that_look_like_those_of_another_unit_are_doubted(unit, learned, likely):
    given = {'names': ('lift',), 'unit': (unit,), 'sign': (1,), 'offset': (0,)}
    found = doubts(settings(**given), [learned])
    assert [f'as {likely} has them. Set joints.unit to {likely},' in said for said in found] == (
        [True] if likely else []
    )
    assert doubts(settings(**given, mode='joint_delta'), [learned]) == []


def test_one_joint_that_hardly_moved_is_no_reason_to_doubt_degrees():
    given = {'names': ('pan', 'lift'), 'unit': ('deg',), 'sign': (1,), 'offset': (0,)}
    assert doubts(settings(**given), [(-0.5, 0.5), (-30.0, 60.0)]) == []
    assert len(doubts(settings(**given), [(-0.5, 0.5), (-1.0, 2.0)])) == 2
