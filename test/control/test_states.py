# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""States, their reasons, and what they do to the set-point."""

import numpy as np
import pytest

from efficient_vla.control.controller import Controller
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.control.state import State
from efficient_vla.settings import build

MOVE = (0.8, 0.0, 0.0)


@pytest.fixture
def moving(make_controller, straight, run):
    controller = make_controller()
    controller.accept(straight(MOVE), 0.0)
    run(controller, 0.0, 0.2)
    assert controller.tick(0.2).velocity[0] == pytest.approx(0.8)
    return controller


def test_numbers_are_those_of_the_message():
    assert [state.name for state in sorted(State)] == (
        'UNKNOWN DISABLED WAITING TRACKING DECELERATING HOLDING STOPPED PAUSED'.split()
    )
    assert sorted(State) == list(range(8))


def test_a_new_controller_is_disabled_and_cannot_be_enabled_without_a_robot():
    controller = Controller(build(ControllerSettings, {}), ('x', 'gripper'))
    assert controller.state == State.DISABLED
    assert 'robot' in controller.enable(0.0)
    assert controller.state == State.DISABLED
    with pytest.raises(RuntimeError, match='Call reset first'):
        controller.tick(0.0)


@pytest.mark.parametrize('position', [[0.0, 0.0], [0.0, 0.0, np.nan, 0.0], [[0.0] * 4]])
def test_a_set_point_that_cannot_be_the_robots_is_refused(make_controller, position):
    controller = make_controller()
    before = controller.tick(0.01).position
    with pytest.raises(ValueError, match='expected a finite number for each of x, y, z, gripper'):
        controller.reset(np.array(position), 0.02)
    np.testing.assert_array_equal(controller.tick(0.02).position, before)


def test_disabled_and_waiting_hold_the_robots_set_point(make_controller, run):
    controller = make_controller()
    assert controller.state == State.WAITING
    np.testing.assert_array_equal(run(controller, 0.0, 0.5)[-1], (0.1, 0.6, 0.2, -1.0))
    controller.disable(0.5)
    np.testing.assert_array_equal(run(controller, 0.5, 1.0)[-1], (0.1, 0.6, 0.2, -1.0))


def test_stop_is_latched(moving, straight, until_still):
    moving.stop(0.2, 'operator')
    assert moving.state == State.STOPPED
    assert until_still(moving, 0.2) <= 0.2
    assert moving.accept(straight(MOVE, 0.5, 2), 0.5) == 'controller is stopped; chunk ignored.'
    assert 'call reset_stop first' in moving.enable(0.6)
    moving.disable(0.6)
    assert moving.state == State.STOPPED
    assert moving.reason == 'operator'
    moving.reset_stop(0.7)
    assert moving.state == State.DISABLED
    assert moving.enable(0.8) is None
    assert moving.state == State.WAITING
    assert moving.accept(straight(MOVE, 0.8, 3), 0.8) is None


def test_disable_stops_inside_the_limits(moving, until_still):
    moving.disable(0.2)
    assert until_still(moving, 0.2) <= 0.2
    assert moving.state == State.DISABLED
    assert moving.max_jerk <= 1500 * (1 + 1e-4)


def test_flush_drops_the_chunks_of_another_task(moving, straight, until_still):
    moving.flush(0.2, 'instruction changed')
    assert moving.state == State.DECELERATING
    assert until_still(moving, 0.2) <= 0.2
    assert (moving.state, moving.reason) == (State.HOLDING, 'instruction changed')
    assert moving.underruns == 0
    assert moving.accept(straight(MOVE, 0.4, 2), 0.4) is None


def test_flush_does_not_enable(moving):
    moving.stop(0.2)
    moving.flush(0.3, 'instruction changed')
    assert moving.state == State.STOPPED


def test_after_enabling_the_robot_starts_gently_from_where_it_stands(
    make_controller, straight, run
):
    controller = make_controller()
    controller.disable(0.0)
    run(controller, 0.0, 1.0)
    controller.enable(1.0)
    controller.accept(straight(MOVE, 0.9, 2), 1.0)
    positions = run(controller, 1.0, 1.2)[:, 0]
    # 1500 m/s^3 over the first tick of 10 ms gives a quarter of a millimetre.
    assert 0 < positions[0] - 0.1 <= 1500 * 0.01**3 / 6 + 1e-9
    assert controller.max_jerk <= 1500 * (1 + 1e-4)


def test_enabling_starts_new_measurements_and_keeps_counters(moving, straight, run):
    run(moving, 0.2, 1.0)
    assert moving.max_jerk > 0
    assert moving.underruns == 1
    moving.disable(1.0)
    moving.enable(1.0)
    assert moving.max_jerk == 0
    assert moving.max_seam == 0
    assert moving.underruns == 1


def test_reset_takes_the_robots_word(moving):
    moving.reset(np.array([0.0, 0.7, 0.1, 1.0]), 0.3)
    assert moving.state == State.WAITING
    command = moving.tick(0.31)
    np.testing.assert_array_equal(command.position, (0.0, 0.7, 0.1, 1.0))
    assert not command.velocity.any()


def test_a_reset_is_no_jerk(make_controller, run):
    controller = make_controller()
    run(controller, 0.0, 0.1)
    controller.reset(np.array([0.4, 0.9, 0.4, 0.0]), 0.1)
    run(controller, 0.1, 0.2)
    assert controller.max_jerk == 0


def test_the_report_tells_ages_and_what_is_left(moving, straight):
    moving.accept(straight(MOVE, 0.15, 7, plan_stamp=0.05, plan_sequence=2), 0.2)
    report = moving.report(0.25)
    assert report.state == State.TRACKING
    assert report.chunk_sequence == 7
    assert report.execution.stamp == 0.15
    assert report.chunk_age == pytest.approx(0.1)
    assert report.plan_age == pytest.approx(0.2)
    assert report.remaining == pytest.approx(0.4)
    assert report.state_age == pytest.approx(0.25)


def test_the_report_before_any_chunk_has_infinite_ages(make_controller):
    report = make_controller().report(0.1)
    assert report.chunk_age == report.plan_age == np.inf
    assert report.remaining == 0.0
    assert report.reason == 'waiting for a chunk'
