# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The limits of a robot come from its description wherever a profile is read."""

from math import pi

import pytest
from control.arms import ARMS, UR, names_of, urdf_of

from efficient_vla.bringup.graph import (
    ProfileError,
    Selection,
    describe,
    profile_values,
    robot_met,
)
from efficient_vla.bringup.robot_limits import completed
from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.settings import InvalidSettingError, build


@pytest.fixture
def profile(tmp_path):
    """Return what writes the profile of a UR5e with its description, and limits of its own."""

    def write(*lines):
        (tmp_path / 'arm.urdf').write_text(urdf_of('ur5e'))
        (tmp_path / 'limits.yaml').write_text(ARMS['ur5e']['joint_limits'])
        path = tmp_path / 'arm.yaml'
        path.write_text(
            'controller:\n  ros__parameters:\n'
            f'    names: [{", ".join(names_of("ur5e"))}, gripper]\n'
            f'    robot_description: {tmp_path}/arm.urdf\n'
            f'    joint_limits: {tmp_path}/limits.yaml\n' + ''.join(f'    {x}\n' for x in lines)
        )
        return path

    return write


JERK = 'limits.max_jerk: [60.0]'


def test_a_profile_gets_the_limits_of_its_description(profile):
    path = str(profile(JERK))
    own = describe(Selection(robot=path, policy='passthrough')).parameters['controller']
    settings = build(ControllerNodeSettings, own)
    assert settings.limits.max_velocity == pytest.approx([pi] * 6)
    assert settings.limits.max_acceleration == pytest.approx([pi] * 6)
    assert settings.limits.stop_deceleration == pytest.approx([pi] * 6)
    assert settings.limits.position_high == pytest.approx([2 * pi, 2 * pi, pi] + [2 * pi] * 3)
    assert settings.limits.max_jerk == (60.0,)
    # So do all who ask for a robot.
    assert profile_values(path, {'controller': ControllerNodeSettings})['controller'][
        'limits.max_velocity'
    ] == pytest.approx([pi] * 6)
    met = robot_met(path, {})
    assert met.high[2] == pytest.approx(pi)
    # 1 s at 180 deg/s^2, and its ramp before and after.
    assert 'velocity 3.14159, acceleration 3.14159, jerk 60; stands 1.1 s' in met.limits[0]


def test_what_is_set_wins_even_where_it_is_the_default(profile):
    path = str(profile(JERK, 'limits.max_velocity: [0.8]'))
    selection = Selection(robot=path, policy='passthrough')
    own = describe(selection).parameters['controller']
    assert own['limits.max_velocity'] == [0.8]
    overrides = {'controller.limits.max_velocity': [0.5]}
    selection = Selection(robot=path, policy='passthrough', overrides=overrides)
    assert describe(selection).parameters['controller']['limits.max_velocity'] == [0.5]
    assert ', velocity 0.5,' in robot_met(path, overrides).limits[0]


def test_a_limit_that_nobody_says_ends_the_start_with_joint_and_parameter(profile):
    with pytest.raises(ProfileError, match=f'{UR[0]!r} has no max_jerk.*Set limits.max_jerk'):
        describe(Selection(robot=str(profile()), policy='passthrough'))


def test_a_node_that_is_started_by_hand_takes_them_too():
    values = {'names': list(names_of('fr3')), 'robot_description': urdf_of('fr3')}
    with pytest.raises(InvalidSettingError, match=r'limits\.max_acceleration'):
        ControllerNodeSettings.completed(values)
    values |= {'limits.max_acceleration': [10.0], 'limits.max_jerk': [5000.0]}
    settings = build(ControllerNodeSettings, ControllerNodeSettings.completed(values))
    assert settings.limits.max_velocity == (2.62,) * 4 + (5.26, 4.18, 5.26)
    assert settings.limits.stop_deceleration == (10.0,)


def test_without_a_description_nothing_is_added():
    values = {'names': ['a'], 'limits.max_velocity': [1.0]}
    assert completed(values) == values
    assert completed({**values, 'robot_description_topic': 'd', 'joint_limits': ''}) == {
        **values,
        'robot_description_topic': 'd',
        'joint_limits': '',
    }


def test_a_file_that_is_not_there_is_named():
    values = {'names': ['a'], 'robot_description': '/nowhere/arm.urdf'}
    with pytest.raises(InvalidSettingError, match=r"'/nowhere/arm.urdf', which cannot be read"):
        completed(values)


def test_columns_that_the_driver_calls_otherwise_are_found():
    values = {
        'names': ['pan', *names_of('fr3')[1:], 'gripper'],
        'driver.joint_names': ['pan:=fr3_joint1'],
        'robot_description': urdf_of('fr3'),
        **ARMS['fr3']['profile'],
    }
    assert completed(values)['limits.position_low'][0] == -2.7437


@pytest.mark.parametrize('wrong', [{'limits.max_acceleration': 5.0}, {'names': 'a'}])
def test_values_of_another_type_are_left_to_the_settings(wrong):
    values = {'names': ['a'], 'robot_description': urdf_of('fr3'), **wrong}
    with pytest.raises(InvalidSettingError, match='expected a list'):
        build(ControllerNodeSettings, completed(values))
