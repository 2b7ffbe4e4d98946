# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which limit holds where several descriptions, or none, say one."""

import pytest

from efficient_vla.control.robot_limits.combined import described_limits
from efficient_vla.control.robot_limits.urdf import DescribedJoint
from efficient_vla.settings import InvalidSettingError

JOINTS = {
    'pan': DescribedJoint('revolute', -3.0, 3.0, 2.0),
    'roll': DescribedJoint('continuous', -1e4, 1e4, 4.0),
    'jaw': DescribedJoint('prismatic', 0.0, 0.04, 0.1, 'other'),
}
LIMITS = {
    'pan': {'velocity': 1.0, 'acceleration': 5.0, 'jerk': 50.0, 'low': -4.0, 'high': 2.5},
    'roll': {'velocity': 6.0, 'acceleration': 9.0, 'jerk': 90.0},
}
AXES = {'pan': 'pan', 'roll': 'roll'}


def test_the_tighter_of_two_descriptions_holds():
    assert described_limits(AXES, JOINTS, LIMITS, {}) == {
        'limits.max_velocity': (1.0, 4.0),
        'limits.max_acceleration': (5.0, 9.0),
        'limits.max_jerk': (50.0, 90.0),
        'limits.position_low': (-3.0, -1e4),
        'limits.position_high': (2.5, 1e4),
        'limits.stop_deceleration': (5.0, 9.0),
        'continuous': ('roll',),
    }


def test_what_the_profile_sets_holds_whatever_they_say():
    given = {'limits.max_velocity': (9.0,), 'limits.max_acceleration': (3.0,)}
    found = described_limits(AXES, JOINTS, LIMITS, given)
    assert 'limits.max_velocity' not in found
    assert found['limits.stop_deceleration'] == (3.0,)
    assert described_limits(AXES, JOINTS, LIMITS, {'continuous': ('pan',)})['continuous'] == (
        'pan',
        'roll',
    )


def test_columns_may_have_other_names_than_joints():
    found = described_limits({'a': 'roll', 'b': 'pan'}, JOINTS, LIMITS, {})
    assert found['limits.max_velocity'] == (4.0, 1.0)
    assert found['continuous'] == ('a',)


@pytest.mark.parametrize('kind', ['acceleration', 'jerk'])
def test_a_limit_that_nobody_says_is_refused_and_never_made_up(kind):
    own = {name: value for name, value in LIMITS['pan'].items() if name != kind}
    with pytest.raises(
        InvalidSettingError, match=f"'pan' has no max_{kind}.*Set limits.max_{kind}"
    ):
        described_limits(AXES, JOINTS, {**LIMITS, 'pan': own}, {})
    given = {f'limits.max_{kind}': (1.0,)}
    assert f'limits.max_{kind}' not in described_limits(AXES, JOINTS, {**LIMITS, 'pan': own}, given)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('pam', "'pam' of names is no joint of robot_description.*did you mean pan"),
        ('jaw', "'jaw' of names follows 'other'"),
    ],
)
def test_a_column_that_is_no_joint_is_refused(name, words):
    with pytest.raises(InvalidSettingError, match=words):
        described_limits({name: name}, JOINTS, LIMITS, {})


def test_a_range_must_come_from_somewhere():
    with pytest.raises(InvalidSettingError, match=r"'roll' has no range.*limits\.position_low"):
        described_limits({'roll': 'roll'}, {}, LIMITS, {})
