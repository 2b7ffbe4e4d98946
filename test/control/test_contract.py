# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of another kind or unit than the robot's are refused with the likely cause."""

import numpy as np
import pytest

from efficient_vla.types import ActionChunk, ControlMode

JOINTS = ('shoulder', 'elbow')
START = (0.5, -0.4)
DT = 0.05
JOINT_DELTA = ControlMode.JOINT_DELTA


@pytest.fixture
def joint_controller(make_controller):
    return make_controller(names=JOINTS, start=START)


@pytest.fixture
def joints(make_chunk):
    """Make a chunk of joint rows."""

    def make(rows, mode=ControlMode.JOINT_POSITION, sequence=1):
        return make_chunk(rows, 0.0, sequence, mode=mode, names=JOINTS, dt=DT)

    return make


def sweep(begin, speed, rows=10):
    """Return rows that go from ``begin`` with ``speed`` [a second] on both joints."""
    return np.array(begin) + np.arange(1, rows + 1)[:, None] * DT * speed


def test_degrees_in_place_of_radians_are_refused_and_move_nothing(joint_controller, joints, run):
    refused = joint_controller.accept(joints(np.degrees(sweep(START, 0.3))), 0.0)
    assert 'degrees, taken for radians' in refused
    assert 'shoulder' in refused
    np.testing.assert_array_equal(run(joint_controller, 0.0, 0.3)[-1], START)
    assert joint_controller.accept(joints(sweep(START, 0.3)), 0.3) is None


def test_displacements_in_degrees_are_refused(joint_controller, joints):
    steps = np.full((10, 2), 0.3 * DT)
    refused = joint_controller.accept(joints(np.degrees(steps), JOINT_DELTA), 0.0)
    assert refused.startswith('chunk asks for 17.19 a second on shoulder; expected at most 10')
    assert joint_controller.accept(joints(steps, JOINT_DELTA), 0.0) is None


def test_one_row_of_displacements_that_no_robot_makes_is_refused(joint_controller, joints):
    steps = np.full((10, 2), 0.1 * DT)
    steps[4, 1] = np.degrees(0.2 * DT)
    refused = joint_controller.accept(joints(steps, JOINT_DELTA), 0.0)
    assert refused.startswith('chunk asks for 11.46 a second on elbow; expected at most 10')


@pytest.mark.parametrize('name', ['one joint in degrees', 'from the observation'])
def test_displacements_that_add_up_far_beyond_the_range_are_refused(make_controller, joints, name):
    box = {'limits.position_low': (-1.5,), 'limits.position_high': (1.5,)}
    controller = make_controller({'limits.max_velocity': (3.0,), **box}, names=JOINTS, start=START)
    way = np.linspace(0.0, 0.4, 21)[1:, None] * [1.0, -0.5]
    steps = np.diff(way, axis=0, prepend=0.0)
    assert controller.accept(joints(steps, JOINT_DELTA), 0.0) is None
    wrong = {'one joint in degrees': steps * [np.degrees(1), 1], 'from the observation': way}
    refused = controller.accept(joints(wrong[name], JOINT_DELTA, 2), 0.01)
    assert refused.startswith('chunk adds up to ')
    assert 'on shoulder, which is at 0.5; expected to stay near' in refused
    assert 'degrees' in refused
    assert 'rows count from the observation' in refused


def test_a_wide_range_hides_no_degrees(make_controller, joints):
    box = {'limits.position_low': (-6.28,), 'limits.position_high': (6.28,)}
    controller = make_controller({'limits.max_velocity': (3.0,), **box}, names=JOINTS, start=START)
    steps = np.tile([np.degrees(0.01), 0.01], (20, 1))
    refused = controller.accept(joints(steps, JOINT_DELTA), 0.0)
    assert refused.startswith('chunk adds up to 11.46 on shoulder')


def test_displacements_may_push_against_the_end_of_the_range(make_controller, joints):
    box = {'limits.position_low': (-1.5,), 'limits.position_high': (1.5,)}
    controller = make_controller({'limits.max_velocity': (3.0,), **box}, names=JOINTS, start=START)
    steps = np.full((20, 2), [0.1, 0.0])
    assert controller.accept(joints(steps, JOINT_DELTA), 0.0) is None
    names = ('shoulder', 'finger')
    controller = make_controller({'limits.max_velocity': (3.0,), **box}, names=names, start=START)
    steps = ActionChunk(np.full((20, 2), [0.0, 0.3], np.float32), DT, names, JOINT_DELTA, 0.0, 1)
    assert controller.accept(steps, 0.0) is None, 'a hand that has closed'


@pytest.mark.parametrize(
    ('mode', 'row', 'words'),
    [
        (ControlMode.EE_POSITION, (100.0, 600.0, 200.0), 'those are millimetres, taken for metres'),
        (ControlMode.EE_DELTA, (5.0, 0.0, 0.0), 'millimetres: send m.'),
        (ControlMode.EE_TWIST, (100.0, 0.0, 0.0), 'millimetres: send m.'),
    ],
)
def test_millimetres_in_place_of_metres_are_refused(make_controller, make_chunk, mode, row, words):
    rows = np.tile([*row, 0.0], (10, 1))
    refused = make_controller().accept(make_chunk(rows, mode=mode), 0.0)
    assert words in refused


def test_what_is_only_fast_or_far_is_driven_inside_the_limits(joint_controller, joints):
    assert joint_controller.accept(joints(sweep(START, 6.0)), 0.0) is None
    far = np.tile(np.array(START) + 3.0, (10, 1))
    assert joint_controller.accept(joints(far, sequence=2), 0.01) is None


def test_positions_far_outside_the_box_are_refused_also_where_they_stand(make_controller, joints):
    box = {'limits.position_low': (-1.0,), 'limits.position_high': (1.0,)}
    values = {**box, 'contract.first_angle': 2.0}
    controller = make_controller(values, names=JOINTS, start=START)
    near = np.tile([1.5, -0.4], (10, 1))
    assert controller.accept(joints(near), 0.0) is None
    refused = controller.accept(joints(np.tile([3.2, -0.4], (10, 1)), sequence=2), 0.01)
    assert 'chunk goes to 3.2 on shoulder' in refused
    assert 'limits.position_low -1' in refused


def test_angles_that_wrap_are_not_taken_for_degrees(make_controller, joints):
    controller = make_controller(names=JOINTS, start=(3.1, 0.0))
    angles = np.array([3.1, 3.13, -3.12, -3.09])
    rows = np.stack([angles, np.zeros(4)], axis=1)
    refused = controller.accept(joints(rows), 0.0)
    assert refused is None or 'degrees' not in refused


@pytest.mark.parametrize('mode', [m for m in ControlMode if m != ControlMode.UNKNOWN])
def test_rotation_is_refused_as_such_in_every_mode(make_controller, make_chunk, mode):
    names = ('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper')
    controller = make_controller(names=names, start=(0.0,) * 7)
    refused = controller.accept(make_chunk(np.zeros((4, 7)), mode=mode, names=names), 0.0)
    assert 'expected qx, qy, qz and qw side by side for the rotation' in refused
    assert 'Drop roll, pitch, yaw' in refused
    assert 'expected a JOINT mode' not in refused


@pytest.mark.parametrize('mode', [ControlMode.JOINT_POSITION, ControlMode.JOINT_DELTA])
def test_joint_rows_never_drive_a_robot_commanded_in_space(make_controller, make_chunk, mode):
    for names in (('x', 'y', 'z', 'gripper'), ('x', 'y', 'z')):
        controller = make_controller(names=names, start=(0.0,) * len(names))
        chunk = make_chunk(np.zeros((4, len(names))), mode=mode, names=names)
        assert 'expected an EE mode' in controller.accept(chunk, 0.0)


def test_the_same_chunk_counts_once(make_controller, straight):
    controller = make_controller({'blending.method': 'temporal_ensemble'})
    assert controller.accept(straight((0.1, 0.0, 0.0), 0.0, 5), 0.0) is None
    for _ in range(3):
        assert 'chunk 5 came before' in controller.accept(straight((0.1, 0.0, 0.0), 0.0, 5), 0.01)
    assert controller.rejected == 3
    assert controller.accept(straight((0.1, 0.0, 0.0), 0.01, 5), 0.02) is None, 'no numbers sent'
