# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A pause, a resume or a new instruction in mid-motion: no jump, nothing repeated or lost."""

import numpy as np
import pytest

from efficient_vla.control.settings import BLENDING_METHODS
from efficient_vla.control.state import State

MOVE = (0.4, 0.0, 0.0)
JERK = 1500 * (1 + 1e-4)


@pytest.fixture
def moving(make_controller, straight, run):
    controller = make_controller()
    controller.accept(straight(MOVE), 0.0)
    run(controller, 0.0, 0.1)
    return controller


def test_a_pause_brakes_inside_the_limits_and_holds(moving, run, until_still):
    assert moving.pause(0.1) is None
    assert (moving.state, moving.reason) == (State.PAUSED, 'paused')
    assert not moving.enabled
    assert until_still(moving, 0.1) <= 0.1
    held = run(moving, 0.2, 1.0)
    np.testing.assert_array_equal(held[0], held[-1])
    assert moving.state == State.PAUSED
    assert moving.max_jerk <= JERK
    assert moving.underruns == 0


def test_a_paused_controller_ignores_chunks_without_counting_them(moving, straight):
    moving.pause(0.1)
    assert moving.accept(straight(MOVE, 0.1, 2), 0.12) == 'controller is paused; chunk ignored.'
    assert moving.rejected == 0


@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_a_short_pause_goes_on_along_the_chunk_where_it_was(make_controller, straight, run, method):
    controller = make_controller({'blending.method': method, 'watchdog.chunk_timeout': 5.0})
    controller.accept(straight(MOVE), 0.0)
    run(controller, 0.0, 0.1)
    controller.pause(0.1)
    run(controller, 0.1, 0.4)
    assert controller.resume(0.4) is None
    assert controller.state == State.TRACKING
    positions = run(controller, 0.4, 0.75)[:, 0]
    # 40 rows at 0.4 m/s are 0.2 m, whatever came between; the braking way is part of them.
    assert positions[-1] < 0.1 + 0.2
    assert controller.state == State.TRACKING
    assert run(controller, 0.75, 1.0)[-1, 0] == pytest.approx(0.1 + 0.2, abs=0.008)
    assert controller.state == State.HOLDING
    assert controller.max_jerk <= JERK
    assert controller.underruns == 1


def test_after_a_pause_the_gripper_goes_on_with_its_row(make_controller, make_chunk, run):
    controller = make_controller({'watchdog.chunk_timeout': 5.0})
    rows = np.zeros((40, 4))
    rows[:16, 3], rows[16:, 3] = -1, 1
    controller.accept(make_chunk(rows), 0.0)
    run(controller, 0.0, 0.1)
    controller.pause(0.1)
    assert (run(controller, 0.1, 0.5)[:, 3] == -1).all()
    controller.resume(0.5)
    # Rows that close the gripper begin 0.2 s into the chunk, which is 0.1 s from here.
    assert (run(controller, 0.5, 0.59)[:, 3] == -1).all()
    run(controller, 0.59, 0.6)
    assert (run(controller, 0.6, 0.7)[:, 3] == 1).all()


def test_after_a_long_pause_the_robot_waits_for_a_fresh_chunk(moving, straight, run):
    moving.pause(0.1)
    held = run(moving, 0.1, 1.0)[-1, 0]
    assert moving.resume(1.0) is None
    assert (moving.state, moving.reason) == (State.WAITING, 'resumed; waiting for a chunk')
    assert run(moving, 1.0, 1.2)[-1, 0] == held
    assert moving.accept(straight(MOVE, 1.15, 2), 1.2) is None
    assert 0 < run(moving, 1.2, 1.21)[-1, 0] - held < 0.001
    assert moving.max_jerk <= JERK


def test_a_chunk_observed_during_the_pause_starts_at_its_first_row(moving, straight, run):
    moving.pause(0.1)
    run(moving, 0.1, 1.0)
    moving.resume(1.0)
    moving.accept(straight(MOVE, 0.8, 2), 1.0)
    assert moving.max_seam < 0.03
    assert np.isnan(moving.report(1.0).execution.delay)


def test_an_old_plan_does_not_survive_a_pause(make_controller, straight, run):
    controller = make_controller({'watchdog.chunk_timeout': 5.0})
    controller.accept(straight(MOVE, plan_valid_for=0.3), 0.0)
    run(controller, 0.0, 0.1)
    controller.pause(0.1)
    run(controller, 0.1, 0.35)
    controller.resume(0.35)
    assert controller.state == State.WAITING


def test_a_robot_that_held_before_the_pause_holds_after_it(make_controller, straight, run):
    controller = make_controller({'watchdog.chunk_timeout': 5.0})
    controller.accept(straight(MOVE, rows=8), 0.0)
    run(controller, 0.0, 0.3)
    assert controller.state == State.HOLDING
    controller.pause(0.3)
    controller.resume(0.35)
    assert controller.state == State.WAITING


@pytest.mark.parametrize('again', ['reset', 'flush', 'clock'])
def test_what_voids_the_chunk_does_not_end_the_pause(moving, run, again):
    moving.pause(0.1)
    run(moving, 0.1, 0.2)
    if again == 'reset':
        moving.reset(np.array([0.0, 0.6, 0.2, 0.0]), 0.2)
    elif again == 'flush':
        moving.flush(0.2, 'new instruction')
    else:
        moving.tick(0.0)
    assert moving.state == State.PAUSED
    moving.resume(0.21)
    assert moving.state == State.WAITING


def test_stop_and_disable_end_a_pause(moving):
    moving.pause(0.1)
    moving.stop(0.1)
    assert moving.state == State.STOPPED
    assert 'stopped, not paused' in moving.resume(0.2)
    assert 'only an enabled one' in moving.pause(0.2)


def test_enabling_does_not_end_a_pause(moving):
    moving.pause(0.1)
    assert moving.enable(0.2) == 'the controller is paused; resume it.'
    assert moving.state == State.PAUSED


def test_pausing_twice_is_pausing_once_and_the_last_gives_the_reason(moving, run):
    moving.pause(0.1, 'the camera is late')
    run(moving, 0.1, 0.2)
    assert moving.pause(0.2, 'operator') is None
    assert moving.reason == 'operator'
    assert moving.report(0.2).state_age == pytest.approx(0.1)


def test_a_robot_without_a_pause_cannot_resume(moving):
    assert moving.resume(0.1) == 'the controller is tracking, not paused.'
    assert moving.state == State.TRACKING


@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_a_new_instruction_in_mid_motion_causes_no_jump(make_controller, straight, run, method):
    controller = make_controller({'blending.method': method})
    controller.accept(straight(MOVE), 0.0)
    before = run(controller, 0.0, 0.1)
    controller.flush(0.1, 'instruction changed')
    between = run(controller, 0.1, 0.15)
    # Computed for the new instruction from what was seen before the brake had ended.
    assert controller.accept(straight((-0.4, 0.2, 0.0), 0.12, 2), 0.15) is None
    after = run(controller, 0.15, 0.3)
    steps = np.diff(np.concatenate([before, between, after])[:, :3], axis=0)
    assert np.abs(steps).max() <= 0.8 * 0.01 * (1 + 1e-6)
    assert controller.max_jerk <= JERK
    assert steps[-1, 0] == pytest.approx(-0.004, rel=0.05)
