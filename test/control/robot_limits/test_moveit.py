# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What is taken from a joint_limits.yaml, and what is refused in it."""

from math import pi

import pytest

from efficient_vla.control.robot_limits.moveit import LARGEST, read_joint_limits
from efficient_vla.settings import InvalidSettingError


def limits(*lines, above=''):
    return f'{above}joint_limits:\n  elbow:\n' + ''.join(f'    {line}\n' for line in lines)


VELOCITY = ('has_velocity_limits: true', 'max_velocity: 2.0')


def test_limits_count_where_they_are_said_to_be_there():
    text = limits(
        *VELOCITY,
        'has_acceleration_limits: false',
        'max_acceleration: 5.0',
        'has_jerk_limits: true',
        'max_jerk: 1e3',
    )
    assert read_joint_limits(text) == {'elbow': {'velocity': 2.0, 'jerk': 1000.0}}


def test_angles_may_be_tagged():
    text = limits(
        'has_position_limits: true',
        'min_position: !degrees -360.0',
        'max_position: !radians 1.5',
        'has_velocity_limits: true',
        'max_velocity: !degrees 180',
    )
    found = read_joint_limits(text)['elbow']
    assert found == pytest.approx({'low': -2 * pi, 'high': 1.5, 'velocity': pi})


def test_scaling_factors_hold_for_velocity_and_acceleration():
    text = limits(
        *VELOCITY,
        'has_acceleration_limits: true',
        'max_acceleration: 8.0',
        'has_jerk_limits: true',
        'max_jerk: 100.0',
        above='default_velocity_scaling_factor: 0.5\ndefault_acceleration_scaling_factor: 0.25\n',
    )
    found = read_joint_limits(text)['elbow']
    assert found == {'velocity': 1.0, 'acceleration': 2.0, 'jerk': 100.0}


def test_a_file_of_parameters_is_read_too():
    inner = limits(*VELOCITY).replace('\n', '\n      ')
    text = f'/**:\n  ros__parameters:\n    robot_description_planning:\n      {inner}'
    assert read_joint_limits(text)['elbow'] == {'velocity': 2.0}


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (limits('has_velocity_limits: true'), "'elbow'.*max_velocity None"),
        (limits('has_velocity_limits: true', 'max_velocity: .nan'), 'max_velocity nan'),
        (limits('has_velocity_limits: true', 'max_velocity: fast'), "max_velocity 'fast'"),
        (limits('has_velocity_limits: true', 'max_velocity: 0'), 'max_velocity 0 while'),
        (limits('has_velocity_limits: 1', 'max_velocity: 2'), 'has_velocity_limits 1'),
        (
            limits('has_position_limits: true', 'min_position: 1', 'max_position: -1'),
            'from 1 to -1',
        ),
        (limits('max_velocity: !degrees x'), 'degrees without a number'),
        (limits(*VELOCITY, above='default_velocity_scaling_factor: 2\n'), 'scaling factors'),
        ('joint_limits: [1]', 'has no joints'),
        ('[1, 2]', 'has no joints'),
        ('a: !!python/object:os.system x', 'is not YAML'),
        (' ' * (LARGEST + 1), f'expected at most {LARGEST}'),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(text, words):
    with pytest.raises(InvalidSettingError, match=words):
        read_joint_limits(text)
