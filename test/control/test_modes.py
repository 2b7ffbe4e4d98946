# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a row means in each control mode, and what holding means."""

import numpy as np
import pytest

from efficient_vla.control.settings import INTERPOLATIONS
from efficient_vla.control.state import State
from efficient_vla.types import ControlMode

DT = 0.0125
JOINTS = ('shoulder', 'elbow', 'gripper')
ARM = ('x', 'y', 'z', 'gripper')
START = {ARM: (0.1, 0.6, 0.2, 0.0), JOINTS: (0.1, 0.6, 0.0)}
NAMES = {
    ControlMode.EE_DELTA: ARM,
    ControlMode.EE_POSITION: ARM,
    ControlMode.EE_TWIST: ARM,
    ControlMode.JOINT_DELTA: JOINTS,
    ControlMode.JOINT_POSITION: JOINTS,
}
SPEED = 0.3


@pytest.fixture
def drive(make_controller, make_chunk):
    """Return a controller for a mode, and what makes its chunks of constant speed."""

    def make(mode, **values):
        names = NAMES[mode]
        controller = make_controller({'rate': 80.0, **values}, names, START[names])

        def chunk(rows, stamp=0.0, sequence=1, origin=START[names][0]):
            actions = np.zeros((rows, len(names)))
            if mode in (ControlMode.EE_DELTA, ControlMode.JOINT_DELTA):
                actions[:, 0] = SPEED * DT
            elif mode == ControlMode.EE_TWIST:
                actions[:, 0] = SPEED
            else:
                actions[:] = START[names]
                actions[:, 0] = origin + SPEED * DT * np.arange(1, rows + 1)
            return make_chunk(actions, stamp, sequence, DT, mode, names)

        return controller, chunk

    return make


def test_every_mode_is_covered():
    assert set(NAMES) == set(ControlMode) - {ControlMode.UNKNOWN}


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
@pytest.mark.parametrize('mode', NAMES)
def test_the_same_motion_in_every_mode(drive, unlimited, mode, interpolation):
    controller, chunk = drive(mode, interpolation=interpolation, **unlimited)
    assert controller.accept(chunk(20), 0.0) is None
    positions = [controller.tick(k * DT).position[0] for k in range(1, 21)]
    expected = 0.1 + SPEED * DT * np.arange(1, 21)
    np.testing.assert_allclose(positions, expected, atol=1e-7)


@pytest.mark.parametrize('mode', NAMES)
def test_holding_stands_where_the_brake_ended_and_executes_no_row_again(drive, mode):
    controller, chunk = drive(mode)
    controller.accept(chunk(20), 0.0)
    positions = np.array([controller.tick(k * DT).position[0] for k in range(1, 200)])
    assert controller.state == State.HOLDING
    # The end of the last row, and at most the way that braking from that speed takes.
    braking = SPEED * (SPEED / 20 + 20 / 1500) / 2 + SPEED * DT
    assert 0.1 + 20 * SPEED * DT - 1e-6 <= positions[-1] <= 0.1 + 20 * SPEED * DT + braking
    np.testing.assert_array_equal(positions[40:], positions[40])
    assert not controller.tick(200 * DT).velocity.any()


@pytest.mark.parametrize('mode', NAMES)
def test_a_late_chunk_is_entered_at_the_row_of_now(drive, unlimited, mode):
    controller, chunk = drive(mode, **{**unlimited, 'blending.method': 'latest_only'})
    controller.accept(chunk(20), 0.0)
    for k in range(1, 9):
        observed = controller.tick(k * DT).position[0]
    stamp = 8 * DT
    for k in range(9, 17):
        controller.tick(k * DT)
    assert controller.accept(chunk(20, stamp, 2, origin=observed), 16 * DT) is None
    positions = [controller.tick(k * DT).position[0] for k in range(17, 25)]
    expected = 0.1 + SPEED * DT * np.arange(17, 25)
    np.testing.assert_allclose(positions, expected, atol=1e-6)
    assert controller.max_seam == pytest.approx(0.0, abs=1e-6)


def test_a_far_position_is_not_chased_after_the_chunk_ran_out(make_controller, make_chunk, run):
    controller = make_controller()
    rows = np.tile([0.9, 0.6, 0.2, 0.0], (20, 1))
    controller.accept(make_chunk(rows, mode=ControlMode.EE_POSITION), 0.0)
    held = run(controller, 0.0, 0.35)[-1, 0]
    # 0.25 s at 0.8 m/s are not enough to get there: it stands on the way.
    assert held < 0.35
    assert run(controller, 0.35, 1.0)[-1, 0] == held


def test_a_step_of_an_absolute_policy_is_not_overshot(make_controller, make_chunk, unlimited):
    controller = make_controller({**unlimited, 'rate': 1000.0, 'blending.method': 'latest_only'})
    rows = np.tile([0.4, 0.6, 0.2, 0.0], (20, 1))
    controller.accept(make_chunk(rows, mode=ControlMode.EE_POSITION), 0.0)
    positions = [controller.tick(k / 1000).position[0] for k in range(1, 200)]
    assert max(positions) == pytest.approx(0.4, abs=1e-7)


def test_a_twist_of_zero_stands_still(make_controller, make_chunk, run):
    controller = make_controller()
    controller.accept(make_chunk(np.zeros((20, 4)), mode=ControlMode.EE_TWIST), 0.0)
    positions = run(controller, 0.0, 0.2)
    np.testing.assert_array_equal(positions[0], positions[-1])
    assert controller.state == State.TRACKING
