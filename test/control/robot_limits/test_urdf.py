# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What is taken from a URDF, and what is refused in it."""

import pytest

from efficient_vla.control.robot_limits.urdf import ENDLESS, LARGEST, read_urdf
from efficient_vla.settings import InvalidSettingError


def robot(*joints):
    return f'<robot name="arm">{"".join(joints)}</robot>'


def joint(inside='', kind='revolute', name='elbow'):
    return f'<joint name="{name}" type="{kind}"><parent link="a"/>{inside}</joint>'


LIMIT = '<limit lower="-1.5" upper="2.0" velocity="3.0" effort="9"/>'


def test_range_and_velocity_of_joints_that_move():
    text = robot(
        joint(LIMIT),
        joint(name='base', kind='fixed'),
        joint('<limit lower="0" upper="0.04" velocity="0.1" effort="9"/>', 'prismatic', 'finger'),
    )
    found = read_urdf(text)
    assert list(found) == ['elbow', 'finger']
    elbow = found['elbow']
    assert (elbow.low, elbow.high, elbow.velocity, elbow.kind) == (-1.5, 2.0, 3.0, 'revolute')
    assert (found['finger'].low, found['finger'].high) == (0.0, 0.04)


def test_soft_limits_narrow_the_range():
    soft = '<safety_controller soft_lower_limit="-9" soft_upper_limit="1.9" k_velocity="1"/>'
    elbow = read_urdf(robot(joint(LIMIT + soft)))['elbow']
    assert (elbow.low, elbow.high) == (-1.5, 1.9)
    # Without both there is no soft range, only a gain.
    gain = '<safety_controller k_velocity="1"/>'
    assert read_urdf(robot(joint(LIMIT + gain)))['elbow'].high == 2.0


def test_a_continuous_joint_has_no_end_and_needs_no_limit():
    text = robot(joint('<limit velocity="2" effort="1"/>', 'continuous'))
    wrist = read_urdf(text)['elbow']
    assert (wrist.kind, wrist.low, wrist.high, wrist.velocity) == (
        'continuous',
        -ENDLESS,
        ENDLESS,
        2.0,
    )
    assert read_urdf(robot(joint(kind='continuous')))['elbow'].velocity is None


def test_a_velocity_of_nothing_is_none():
    limit = '<limit lower="-1" upper="1" velocity="0" effort="0"/>'
    assert read_urdf(robot(joint(limit)))['elbow'].velocity is None


def test_a_joint_that_is_locked_counts_as_fixed():
    locked = joint('<limit lower="0" upper="0" velocity="1" effort="1"/>', 'prismatic', 'rail')
    assert list(read_urdf(robot(locked, joint(LIMIT)))) == ['elbow']


def test_a_joint_that_mimics_says_whom():
    assert read_urdf(robot(joint(LIMIT + '<mimic joint="other"/>')))['elbow'].mimics == 'other'


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (robot(joint()), "'elbow' of robot_description has no <limit>"),
        (robot(joint('<limit lower="x" upper="2"/>')), "'elbow'.*lower 'x'; expected a finite"),
        (robot(joint('<limit lower="nan" upper="2"/>')), "lower 'nan'"),
        (robot(joint('<limit lower="2" upper="-2"/>')), 'from 2.0 to -2.0'),
        (robot(joint('<limit lower="-1" upper="2" velocity="-3"/>')), 'velocity -3.0'),
        (robot(joint('<limit velocity="3"/>')), 'from 0.0 to 0.0'),
        (robot(joint('<limit lower="-170" upper="170" velocity="3"/>')), 'likely in degrees'),
        (robot(joint(LIMIT), joint(LIMIT)), "two joints 'elbow'"),
        (robot(joint(LIMIT, 'fixed')), 'no joint that moves'),
        (robot(joint('<origin xyz="0 0 ${height}"/>' + LIMIT)), 'xacro FILE.xacro'),
        ('<robot', 'is no XML'),
        ('<sdf/>', 'is <sdf>'),
        (robot('<xacro:arm xmlns:xacro="http://wiki.ros.org/xacro"/>'), 'xacro FILE.xacro'),
        ('<!DOCTYPE robot [<!ENTITY a "b">]><robot/>', 'declares entities'),
        ('<robot>' + ' ' * LARGEST + '</robot>', f'expected at most {LARGEST}'),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text, words):
    with pytest.raises(InvalidSettingError, match=words):
        read_urdf(text)
