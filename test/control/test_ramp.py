# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""After enabling and after a pause the speed rises slowly, whatever the chunk asks for."""

import numpy as np
import pytest

FULL_SPEED = (0.8, 0.0, 0.0)
SLOW = {'ramp_time': 0.4, 'watchdog.chunk_timeout': 5.0}


def speeds(positions):
    return np.diff(positions[:, 0]) / 0.01


def assert_ramp(positions):
    """Check that the speed is below a line from a tenth to the full limit, and reaches it."""
    limit = 0.8 * (0.1 + 0.9 * np.minimum(np.arange(1, len(positions)) * 0.01 + 0.01, 0.4) / 0.4)
    found = speeds(positions)
    assert (found <= limit + 1e-9).all()
    np.testing.assert_allclose(found[10:38], limit[10:38], rtol=0.05)
    assert found[-1] == pytest.approx(0.8, rel=1e-2)


def test_after_enabling_the_velocity_limit_rises(make_controller, straight, run):
    controller = make_controller(SLOW)
    controller.accept(straight(FULL_SPEED, rows=200), 0.0)
    assert_ramp(run(controller, 0.0, 0.6))
    assert controller.max_jerk <= 1500 * (1 + 1e-4)


def test_the_ramp_counts_motion_not_waiting(make_controller, straight, run):
    controller = make_controller(SLOW)
    run(controller, 0.0, 3.0)
    controller.accept(straight(FULL_SPEED, 3.0, rows=200), 3.0)
    assert_ramp(run(controller, 3.0, 3.6))


def test_a_resumed_robot_ramps_again(make_controller, straight, run):
    controller = make_controller(SLOW)
    controller.accept(straight(FULL_SPEED, rows=200), 0.0)
    run(controller, 0.0, 0.6)
    controller.pause(0.6)
    run(controller, 0.6, 1.0)
    controller.resume(1.0)
    assert_ramp(run(controller, 1.0, 1.6))


def test_a_hold_in_mid_task_needs_no_ramp(make_controller, straight, run):
    controller = make_controller(SLOW)
    controller.accept(straight(FULL_SPEED, rows=60), 0.0)
    run(controller, 0.0, 1.0)
    controller.accept(straight(FULL_SPEED, 1.0, 2, rows=200), 1.0)
    assert speeds(run(controller, 1.0, 1.15)).max() > 0.75


def test_without_ramp_time_the_limits_alone_shape_the_start(make_controller, straight, run):
    controller = make_controller({'ramp_time': 0.0})
    controller.accept(straight(FULL_SPEED), 0.0)
    assert speeds(run(controller, 0.0, 0.1)).max() == pytest.approx(0.8, rel=0.01)
