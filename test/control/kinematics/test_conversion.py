# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""End-effector rows as joint rows: exact where the arm reaches, cut where it does not."""

import numpy as np
import pytest
from control.kinematics import arms

from efficient_vla.types import ActionChunk, ControlMode

TOOL = (0.0, 0.0, 0.1)
LINE = np.array([0.004, -0.003, -0.002])


def planar_joints(x: float, y: float) -> tuple[float, float]:
    """Return the angles of two links of half a metre that reach x, y, elbow to the right."""
    elbow = np.arccos((x * x + y * y - 0.5) / 0.5)
    return np.arctan2(y, x) - elbow / 2, elbow


def test_two_links_take_the_angles_of_the_closed_form() -> None:
    kinematics = arms.make(arms.planar(), 2, orientation='free')
    start = np.array(planar_joints(0.6, 0.3))
    steps = np.tile([-0.01, 0.005, 0.0], (20, 1))
    checked = kinematics.check(arms.rows_of(steps), start, arms.ranges(2))
    assert not checked.refused
    assert checked.finding is None
    expected = [planar_joints(0.6 - 0.01 * k, 0.3 + 0.005 * k) for k in range(1, 21)]
    np.testing.assert_allclose(arms.joints_of(checked.chunk, start), expected, atol=1e-4)


@pytest.mark.parametrize('mode', [m for m in ControlMode if m.name.startswith('EE_')])
def test_the_tool_is_where_the_rows_say_and_does_not_turn(mode: ControlMode) -> None:
    kinematics = arms.make(arms.ur5e(), 6)
    home = arms.forward(arms.UR5E, TOOL, arms.UR5E_HOME)
    path = home[:3, 3] + np.arange(1, 51)[:, None] * LINE  # [50, 3]
    rows = {
        ControlMode.EE_DELTA: np.tile(LINE, (50, 1)),
        ControlMode.EE_TWIST: np.tile(LINE / 0.05, (50, 1)),
        ControlMode.EE_POSITION: path,
    }[mode]
    chunk = arms.rows_of(rows, mode)
    checked = kinematics.check(chunk, arms.UR5E_HOME, arms.ranges(6))
    assert checked.finding is None
    assert checked.chunk.names == ('j0', 'j1', 'j2', 'j3', 'j4', 'j5', 'gripper')
    np.testing.assert_array_equal(checked.chunk.actions[:, -1], chunk.actions[:, -1])
    for joints, place in zip(arms.joints_of(checked.chunk, arms.UR5E_HOME), path, strict=True):
        found = arms.forward(arms.UR5E, TOOL, joints)
        assert np.abs(found[:3, 3] - place).max() < 1e-4
        assert np.abs(found[:3, :3] - home[:3, :3]).max() < 1e-3


def test_relative_rows_begin_at_the_anchor_whatever_the_base() -> None:
    kinematics = arms.make(arms.ur5e(), 6)
    checked = kinematics.check(arms.rows_of(np.zeros((3, 3))), arms.UR5E_HOME, arms.ranges(6))
    assert checked.chunk.control_mode == ControlMode.JOINT_DELTA
    assert np.abs(checked.chunk.actions[:, :6]).max() < 1e-6


def test_positions_far_from_the_arm_are_led_to() -> None:
    kinematics = arms.make(arms.ur5e(), 6)
    goal = arms.forward(arms.UR5E, TOOL, arms.UR5E_HOME)[:3, 3] + [0.1, 0.15, -0.2]
    checked = kinematics.check(
        arms.rows_of(np.tile(goal, (2, 1)), ControlMode.EE_POSITION),
        arms.UR5E_HOME,
        arms.ranges(6),
    )
    assert checked.finding is None
    found = arms.forward(arms.UR5E, TOOL, checked.chunk.actions[0, :6].astype(float))
    assert np.abs(found[:3, 3] - goal).max() < 1e-4


def test_a_stretched_arm_can_be_bent() -> None:
    kinematics = arms.make(arms.planar(), 2, orientation='free')
    start = np.array([0.3, 0.0])
    inwards = -0.004 * np.array([np.cos(0.3), np.sin(0.3), 0.0])
    checked = kinematics.check(arms.rows_of(np.tile(inwards, (5, 1))), start, arms.ranges(2))
    assert not checked.refused
    _, elbow = arms.joints_of(checked.chunk, start)[-1]
    assert abs(elbow) == pytest.approx(planar_joints(0.98, 0.0)[1], abs=1e-3)


def test_rows_beyond_the_reach_are_cut_and_named() -> None:
    kinematics = arms.make(arms.planar(), 2, orientation='free')
    start = np.array(planar_joints(0.955, 0.0))
    chunk = arms.rows_of(np.tile([0.01, 0.0, 0.0], (10, 1)))
    checked = kinematics.check(chunk, start, arms.ranges(2))
    assert checked.finding is not None
    assert (checked.finding.rule, checked.finding.row) == ('unreachable', 4)
    assert '5.1' in str(checked.finding)
    assert len(checked.chunk.actions) == 10
    expected = planar_joints(0.995, 0.0)
    np.testing.assert_allclose(arms.joints_of(checked.chunk, start)[5:], [expected] * 5, atol=1e-4)
    np.testing.assert_array_equal(checked.chunk.actions[4:, -1], chunk.actions[3, -1])


def test_a_chunk_whose_first_row_cannot_be_reached_is_refused() -> None:
    kinematics = arms.make(arms.planar(), 2, orientation='free')
    start = np.array(planar_joints(0.999, 0.0))
    chunk = arms.rows_of(np.tile([0.01, 0.0, 0.0], (10, 1)))
    refused = kinematics.check(chunk, start, arms.ranges(2)).refused
    assert refused.startswith('unreachable: row 0 is 9.')


def test_joints_at_the_end_of_their_range_are_named_and_never_passed() -> None:
    kinematics = arms.make(arms.planar(reach=1.0), 2, orientation='free')
    start = np.array(planar_joints(0.9, 0.0))  # elbow at 0.90 rad
    chunk = arms.rows_of(np.tile([-0.005, 0.0, 0.0], (40, 1)))
    checked = kinematics.check(chunk, start, arms.ranges(2))
    assert checked.finding is not None
    assert checked.finding.rule == 'joint_limit'
    assert 'j1' in checked.finding.text
    assert np.abs(arms.joints_of(checked.chunk, start)).max() <= 1.0 + 1e-6
    # Two links of half a metre with the elbow at 1 rad reach cos(0.5).
    row = int(np.ceil((0.9 - np.cos(0.5) - 1e-3) / 0.005)) - 1
    assert abs(checked.finding.row - row) <= 1


def test_the_box_of_the_settings_holds_within_that_of_the_description() -> None:
    kinematics = arms.make(arms.planar(), 2, orientation='free')
    start = np.array(planar_joints(0.9, 0.0))
    chunk = arms.rows_of(np.tile([-0.005, 0.0, 0.0], (40, 1)))
    checked = kinematics.check(chunk, start, arms.ranges(2, reach=1.0))
    assert checked.finding is not None
    assert checked.finding.rule == 'joint_limit'


def test_near_a_singularity_rows_that_are_too_fast_are_named() -> None:
    kinematics = arms.make(arms.planar(), 2, orientation='free')
    start = np.array(planar_joints(0.99, 0.0))
    chunk = arms.rows_of(np.tile([0.0018, 0.0, 0.0], (5, 1)))
    checked = kinematics.check(chunk, start, arms.ranges(2, velocity=0.5))
    assert not checked.refused
    assert checked.finding is not None
    assert (checked.finding.rule, checked.finding.stops) == ('singularity', False)
    assert checked.chunk.actions[-1, :2].any()


def test_a_leap_through_a_singularity_is_cut() -> None:
    kinematics = arms.make(arms.ur5e(), 6)
    home = arms.UR5E_HOME.copy()
    home[4] = 0.01  # the wrist is all but straight
    aside = arms.forward(arms.UR5E, TOOL, home)[:3, 0]  # the way that the stretched wrist lacks
    chunk = arms.rows_of(np.tile(0.05 * aside, (10, 1)))
    found = kinematics.check(chunk, home, arms.ranges(6))
    rows = arms.joints_of(found.chunk, home)
    assert np.abs(np.diff(rows, axis=0, prepend=home[None])).max() < 0.5 + 1e-6


def test_a_redundant_arm_comes_back_to_its_posture() -> None:
    kinematics = arms.make(arms.panda(), 7)
    kinematics.rest(arms.PANDA_HOME)
    angle = np.linspace(0, 8 * np.pi, 400)
    circle = 0.08 * np.stack([np.cos(angle) - 1, np.sin(angle), 0 * angle], axis=1)
    steps = np.diff(circle, axis=0)
    joints = arms.PANDA_HOME
    for part in np.array_split(steps, 8):
        checked = kinematics.check(arms.rows_of(part), joints, arms.ranges(7))
        assert checked.finding is None
        joints = arms.joints_of(checked.chunk, joints)[-1]
    tool = (0.0, 0.0, 0.2)
    home = arms.forward(arms.PANDA, tool, arms.PANDA_HOME)
    assert np.abs(arms.forward(arms.PANDA, tool, joints) - home).max() < 1e-3
    assert np.abs(joints - arms.PANDA_HOME).max() < 0.03


def test_columns_that_are_not_of_the_tool_are_named() -> None:
    kinematics = arms.make(arms.ur5e(), 6)
    chunk = arms.rows_of(np.zeros((3, 3)))
    wrong = type(chunk)(chunk.actions[:, :3], 0.05, ('x', 'y', 'z'), chunk.control_mode, 0.0)
    refused = kinematics.check(wrong, arms.UR5E_HOME, arms.ranges(6)).refused
    assert 'expected x, y, z, gripper' in refused


def turned(angle: float) -> np.ndarray:
    """Return a turn about the base's z [3, 3]."""
    return np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )


def quaternion(turn: np.ndarray) -> np.ndarray:
    """Return x, y, z, w of a rotation [3, 3]: the axis that it leaves, and half of its angle."""
    values, vectors = np.linalg.eigh(
        np.block(
            [
                [turn + turn.T - np.trace(turn) * np.eye(3), np.zeros((3, 1))],
                [np.zeros((1, 3)), np.trace(turn)],
            ]
        )
        + np.pad(_twist(turn)[None, :], ((3, 0), (0, 1)))
        + np.pad(_twist(turn)[:, None], ((0, 1), (3, 0)))
    )
    found: np.ndarray = vectors[:, values.argmax()]
    return found


def _twist(turn: np.ndarray) -> np.ndarray:
    return np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])


@pytest.mark.parametrize('mode', [ControlMode.EE_DELTA, ControlMode.EE_POSITION])
def test_rows_with_a_quaternion_turn_the_tool(mode: ControlMode) -> None:
    kinematics = arms.make(arms.ur5e(), 6)
    home = arms.forward(arms.UR5E, TOOL, arms.UR5E_HOME)
    turns = [turned(0.02 * k) @ home[:3, :3] for k in range(1, 31)]
    path = home[:3, 3] + np.arange(1, 31)[:, None] * LINE
    if mode == ControlMode.EE_DELTA:
        ways, said = np.tile(LINE, (30, 1)), [turned(0.02)] * 30
    else:
        ways, said = path, turns
    quaternions = np.array([quaternion(turn) for turn in said])
    rows = np.concatenate([ways, quaternions, np.zeros((30, 1))], axis=1).astype(np.float32)
    names = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'gripper')
    checked = kinematics.check(
        ActionChunk(rows, 0.05, names, mode, 0.0), arms.UR5E_HOME, arms.ranges(6)
    )
    assert not checked.refused
    joints = arms.joints_of(checked.chunk, arms.UR5E_HOME)
    for angles, place, turn in zip(joints, path, turns, strict=True):
        found = arms.forward(arms.UR5E, TOOL, angles)
        assert np.abs(found[:3, 3] - place).max() < 1e-4
        assert np.abs(found[:3, :3] - turn).max() < 1e-3


def test_rows_in_the_frame_of_the_tool_become_rows_of_joints() -> None:
    kinematics = arms.make(arms.ur5e(), 6)
    names = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'gripper')
    row = np.array([[0.0, 0.0, 0.01, 0.0, 0.0, np.sin(0.01), np.cos(0.01), 0.5]], np.float32)
    chunk = ActionChunk(row, 0.05, names, ControlMode.EE_DELTA, 0.0, frame='tool')
    checked = kinematics.check(chunk, arms.UR5E_HOME, arms.ranges(6))
    assert (checked.refused or '', checked.chunk.frame) == ('', 'base')
    (joints,) = arms.joints_of(checked.chunk, arms.UR5E_HOME)
    home, found = (arms.forward(arms.UR5E, TOOL, q) for q in (arms.UR5E_HOME, joints))
    np.testing.assert_allclose(found[:3, 3], home[:3, 3] + 0.01 * home[:3, 2], atol=1e-4)
    turned = np.array([[np.cos(0.02), -np.sin(0.02)], [np.sin(0.02), np.cos(0.02)]])
    np.testing.assert_allclose((home[:3, :3].T @ found[:3, :3])[:2, :2], turned, atol=1e-3)
