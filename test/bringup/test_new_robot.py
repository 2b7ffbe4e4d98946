# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A fourth arm, which the code does not know: from its URDF to a graph that starts."""

from pathlib import Path

import pytest
import yaml

from efficient_vla import cli
from efficient_vla.bringup.catalogue import STAND_IN
from efficient_vla.bringup.graph import ProfileError, Selection, describe
from efficient_vla.cli.new_robot import profile
from efficient_vla.errors import UsageError

URDF = Path(__file__).resolve().parents[1] / 'fixtures' / 'xarm6' / 'xarm6.urdf'
JOINTS = [f'joint{number}' for number in range(1, 7)]


@pytest.fixture
def xarm6(tmp_path: Path) -> Path:
    """Return the profile of the arm as the command writes it."""
    path = tmp_path / 'xarm6.yaml'
    words = ['--urdf', str(URDF), '--out', str(path), '--controller', 'xarm6_traj_controller']
    assert cli.main(['new-robot', *words]) == 0
    return path


def test_profile_of_an_arm_has_its_joints_and_ranges_in_few_lines(xarm6: Path) -> None:
    assert len(xarm6.read_text().splitlines()) < 60
    graph = describe(Selection(robot=str(xarm6), policy='first_motion'))
    controller = graph.parameters['controller']
    assert controller['names'] == JOINTS
    low, high = (controller[f'limits.position_{end}'] for end in ('low', 'high'))
    assert list(low) == pytest.approx([-6.28319, -2.059, -3.927, -6.28319, -1.69297, -6.28319])
    assert high[2] == 0.19198
    assert controller['limits.max_velocity'] == [0.628] * 6
    assert controller['arming'] == 'manual'
    assert graph.parameters['actor']['joints.names'] == JOINTS
    assert 'robot_state:=/joint_states' in graph.remaps
    assert STAND_IN not in graph.nodes


def test_monitor_draws_the_arm_by_the_description_of_its_limits(xarm6: Path) -> None:
    shown = describe(Selection(robot=str(xarm6), policy='first_motion')).parameters['monitor']
    assert shown['arm.description'] == str(URDF)
    assert shown['arm.names'] == JOINTS
    assert shown['arm.base'] == 'world'
    own = {'monitor.arm.base': 'link_base', 'controller.kinematics.tool': 'link5'}
    graph = describe(Selection(robot=str(xarm6), policy='first_motion', overrides=own))
    shown = graph.parameters['monitor']
    assert (shown['arm.base'], shown['arm.tool']) == ('link_base', 'link5')


def test_stand_in_of_an_arm_follows_from_its_profile(xarm6: Path) -> None:
    graph = describe(Selection(robot=str(xarm6), policy='first_motion', simulate=True))
    values = graph.parameters[STAND_IN]
    assert values['names'] == JOINTS
    assert values['home'] == [0.0] * 6
    assert values['controller'] == 'xarm6_traj_controller'
    assert values['camera_topics'] == ['camera/image_raw']
    assert graph.remaps[-1] == f'{STAND_IN}:joint_states:=/joint_states'
    far = {'controller.limits.position_low': [0.1, -1.0, -1.0, -1.0, -1.0, -1.0]}
    graph = describe(
        Selection(robot=str(xarm6), policy='first_motion', simulate=True, overrides=far)
    )
    assert graph.parameters[STAND_IN]['home'][0] == 0.1


def test_stand_in_is_refused_where_it_cannot_be_one(xarm6: Path) -> None:
    with pytest.raises(ProfileError, match='robot ur5e is a simulated one'):
        describe(Selection(robot='ur5e', policy='first_motion', simulate=True))
    with pytest.raises(ProfileError, match='output is forward, and the stand-in of an arm follows'):
        describe(
            Selection(
                robot=str(xarm6),
                policy='first_motion',
                simulate=True,
                overrides={'controller.output': 'forward'},
            )
        )


def test_first_motion_takes_columns_and_camera_of_the_profile(xarm6: Path) -> None:
    selection = Selection(
        robot=str(xarm6),
        policy='first_motion',
        overrides={'perception.camera_topics': ['wrist:=/wrist/image_raw']},
    )
    graph = describe(selection)
    assert graph.parameters['monitor']['cameras'] == ['wrist']


ARM = '<robot name="a">{}</robot>'
JOINT = '<joint name="j" type="revolute">{}</joint>'


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('nothing', 'is no XML'),
        (ARM.format(''), 'no joint that moves'),
        (ARM.format(JOINT.format('')), "joint 'j' of robot_description has no <limit>"),
        (ARM.format(JOINT.format('<limit lower="0" upper="1"/>')), 'joint j has no velocity'),
    ],
)
def test_what_is_no_description_of_an_arm_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / 'a.urdf'
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        profile(path, 'controller')
    with pytest.raises(UsageError, match='cannot be read'):
        profile(tmp_path / 'b.urdf', 'controller')


def test_joints_that_turn_without_end_and_those_that_follow_others(tmp_path: Path) -> None:
    path = tmp_path / 'a.urdf'
    limit = '<limit lower="0" upper="0.04" velocity="0.1"/>'
    path.write_text(
        ARM.format(
            '<joint name="wheel" type="continuous"><limit velocity="2.0"/></joint>'
            f'<joint name="finger" type="prismatic">{limit}</joint>'
            f'<joint name="other" type="prismatic"><mimic joint="finger"/>{limit}</joint>'
        )
    )
    text = profile(path, 'controller')
    assert 'names: [wheel, finger]\n' in text
    assert 'unit: [rad, m]\n' in text
    assert 'max_velocity: [0.4, 0.02]\n' in text


def test_names_and_path_of_any_kind_are_read_as_they_are(tmp_path: Path) -> None:
    names = ['1', 'on', 'a, b', 'arm/joint_1']
    path = tmp_path / "the arm's.urdf"
    joint = '<joint name="{}" type="revolute"><limit lower="0" upper="1" velocity="1"/></joint>'
    path.write_text(f'<robot name="r">{"".join(map(joint.format, names))}</robot>')
    text = profile(path, 'no')
    found = yaml.safe_load(text)
    assert found['/**']['ros__parameters']['joints']['names'] == names
    controller = found['/**']['controller']['ros__parameters']
    assert controller['names'] == names
    assert controller['driver']['controller'] == 'no'
    assert controller['robot_description'] == str(path.resolve())
    assert ', arm/joint_1]' in text


def test_profile_that_is_there_is_not_overwritten(xarm6: Path) -> None:
    assert cli.main(['new-robot', '--urdf', str(URDF), '--out', str(xarm6)]) == 2
