# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the arm stay apart from one another, from the table and from boxes."""

import re
from dataclasses import replace

import numpy as np
import pytest
from control.kinematics import arms

from efficient_vla.control.kinematics.kinematics import Kinematics
from efficient_vla.control.kinematics.settings import CollisionSettings, KinematicsSettings
from efficient_vla.types import ActionChunk, ControlMode

DOWN = np.tile([0.0, 0.0, -0.01], (30, 1))


def test_the_table_cuts_a_chunk_before_the_row_that_comes_too_near() -> None:
    home = arms.forward(arms.UR5E, (0.0, 0.0, 0.1), arms.UR5E_HOME)
    # The tool's capsule goes down with it, 0.03 m thick; its deepest point is at the tool.
    height = float(home[2, 3]) - 0.03 - 0.01 - 0.105
    kinematics = arms.make(arms.ur5e(), 6, table=(height,))
    checked = kinematics.check(arms.rows_of(DOWN), arms.UR5E_HOME, arms.ranges(6))
    assert checked.finding is not None
    assert checked.finding.rule == 'table'
    assert 'l5' in checked.finding.text
    row = checked.finding.row
    joints = arms.joints_of(checked.chunk, arms.UR5E_HOME)
    lowered = [arms.forward(arms.UR5E, (0.0, 0.0, 0.1), q)[2, 3] for q in joints]
    assert min(lowered) > home[2, 3] - 0.01 * row - 1e-4
    assert lowered[-1] == pytest.approx(home[2, 3] - 0.01 * row, abs=1e-4)


def test_a_box_is_an_obstacle() -> None:
    home = arms.forward(arms.UR5E, (0.0, 0.0, 0.1), arms.UR5E_HOME)[:3, 3]
    box = (home[0], home[1], home[2] - 0.5, 0.2, 0.2, 0.59)  # its top is 0.205 m below
    kinematics = arms.make(arms.ur5e(), 6, boxes=box)
    checked = kinematics.check(arms.rows_of(DOWN), arms.UR5E_HOME, arms.ranges(6))
    assert checked.finding is not None
    assert checked.finding.rule == 'obstacle'
    assert 'box 1' in checked.finding.text
    # Less the radius of 0.03 m and the margin of 0.01 m that are sixteen rows of 0.01 m.
    assert checked.finding.row == 16


BESIDE = (
    '<link name="wall"><collision><geometry><mesh filename="package://cell/wall.stl"/></geometry>'
    '</collision></link><joint name="slide" type="prismatic"><parent link="base"/>'
    '<child link="wall"/><axis xyz="1 0 0"/><limit lower="0" upper="1" velocity="1" effort="1"/>'
    '</joint></robot>'
)


def folding(mode: ControlMode) -> tuple[ActionChunk, np.ndarray]:
    """Return a chunk that folds the last of three links onto the first, and where it begins."""
    start = np.array([0.0, 2.0, 1.0])
    rows = np.tile([0.0, 0.0, 0.05], (40, 1))
    if mode == ControlMode.JOINT_POSITION:
        rows = start + np.cumsum(rows, axis=0)
    actions = np.concatenate([rows, np.zeros((40, 1))], axis=1).astype(np.float32)
    return ActionChunk(actions, 0.05, ('j0', 'j1', 'j2', 'gripper'), mode, 0.0), start


@pytest.mark.parametrize('mode', [ControlMode.JOINT_POSITION, ControlMode.JOINT_DELTA])
def test_joint_rows_are_checked_too(mode: ControlMode) -> None:
    kinematics = arms.make(arms.planar(3), 3)
    chunk, start = folding(mode)
    checked = kinematics.check(chunk, start, arms.ranges(3))
    assert checked.finding is not None
    assert checked.finding.rule == 'self_collision'
    assert {'l0', 'l2'} <= set(re.findall(r'l\d', checked.finding.text))
    rows = arms.joints_of(checked.chunk, start)
    row = checked.finding.row
    np.testing.assert_allclose(rows[row + 1 :, 2], 1.0 + 0.05 * row, atol=1e-6)
    # By hand: the last link goes from p = (0.5 + 0.5 cos 2, 0.5 sin 2) in the direction 2 + q2;
    # its end comes within two radii and the margin of the first, which lies on y = 0.
    last = rows[-1]
    after = last + [0.0, 0.0, 0.05]
    height = [0.5 * np.sin(2) + 0.5 * np.sin(q[1] + q[2]) for q in (last, after)]
    assert height[0] > 0.07 > height[1]


def test_rows_of_displacements_are_checked_with_the_places_among_them() -> None:
    kinematics = arms.make(arms.planar(3), 3)
    chunk, start = folding(ControlMode.JOINT_DELTA)
    alike = kinematics.check(chunk, start, arms.ranges(3)).finding
    actions = chunk.actions.copy()
    actions[:, 1] = start[1]
    mixed = replace(chunk, actions=actions, absolute=('j1',))
    assert alike is not None
    assert kinematics.check(mixed, start, arms.ranges(3)).finding == alike


def test_joint_rows_far_from_one_another_are_checked_in_between() -> None:
    kinematics = arms.make(arms.planar(3), 3, margin=0.001)
    rows = np.array([[0.0, 2.0, 2.0, 0.0], [0.0, 2.0, -2.0 + 6.28, 0.0]], np.float32)
    chunk = ActionChunk(rows, 0.5, ('j0', 'j1', 'j2', 'gripper'), ControlMode.JOINT_POSITION, 0.0)
    checked = kinematics.check(chunk, np.array([0.0, 2.0, 1.0]), arms.ranges(3))
    assert checked.finding is not None
    assert checked.finding.rule == 'self_collision'


def test_an_arm_that_begins_too_near_may_move_away_and_no_nearer() -> None:
    kinematics = arms.make(arms.planar(3), 3)
    touching = np.array([0.0, 2.0, 2.2])
    for change, refused in ((-0.02, False), (0.02, True)):
        rows = np.tile([0.0, 0.0, change, 0.0], (5, 1)).astype(np.float32)
        chunk = ActionChunk(rows, 0.05, ('j0', 'j1', 'j2', 'gripper'), ControlMode.JOINT_DELTA, 0.0)
        checked = kinematics.check(chunk, touching, arms.ranges(3))
        assert bool(checked.refused) == refused


def test_neighbours_and_what_touches_at_home_are_left_out_and_told() -> None:
    straight = arms.make(arms.planar(4, length=0.04 + 0.02), 4)
    assert straight.collisions is not None
    # Three pairs are no neighbours; those of links next but one are 0.06 m apart, less than two
    # radii, and the first and the last 0.12 m.
    assert straight.collisions.count == 1
    assert straight.collisions.excused == [('l0', 'l2'), ('l1', 'l3')]


def test_what_should_be_checked_and_cannot_be_is_told() -> None:
    assert arms.make(arms.planar(3), 3).unchecked() == ''
    text = arms.planar(3).replace('</robot>', BESIDE)
    names = ('j0', 'j1', 'j2', 'slide')
    settings = KinematicsSettings(tool='l2')
    told = Kinematics(text, names, settings, CollisionSettings()).unchecked()
    assert told.startswith('meshes are not found, and are no obstacle: package://cell/wall.stl of')
    assert 'slide of names move parts that are no part of the chain' in told
    bare = re.sub('<collision .*?</collision>', '', arms.planar(3), flags=re.DOTALL)
    assert 'it has no shapes' in arms.make(bare, 3).unchecked()
    assert arms.make(bare, 3, margin=0.0).unchecked() == '', 'nothing is asked for'


def test_no_margin_checks_nothing() -> None:
    kinematics = arms.make(arms.planar(3), 3, margin=0.0)
    chunk, start = folding(ControlMode.JOINT_DELTA)
    assert kinematics.check(chunk, start, arms.ranges(3)).finding is None
    assert kinematics.refuse(np.array([0.0, 2.0, 2.2])) is None


def test_where_the_arm_would_come_to_stand_is_checked() -> None:
    kinematics = arms.make(arms.planar(3), 3)
    kinematics.begin(np.array([0.0, 1.0, 1.0]))
    assert kinematics.refuse(np.array([0.0, 2.0, 1.5])) is None
    refused = kinematics.refuse(np.array([0.0, 2.0, 2.2]))
    assert refused is not None
    assert refused.startswith('self_collision: the way on brings l')
