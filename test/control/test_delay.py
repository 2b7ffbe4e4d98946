# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The delay is counted in rows that moved the robot."""

import math

import pytest

MOVE = (0.2, 0.0, 0.0)
DT = 0.0125


def test_the_first_chunk_has_no_delay_however_long_it_took(make_controller, straight, run):
    controller = make_controller()
    run(controller, 0.0, 0.4)
    controller.accept(straight(MOVE), 0.4)
    assert math.isnan(controller.report(0.4).execution.delay)


def test_rows_between_observation_and_arrival_are_counted(make_controller, straight, run):
    controller = make_controller()
    controller.accept(straight(MOVE), 0.0)
    run(controller, 0.0, 0.2)
    controller.accept(straight(MOVE, 0.1, 2), 0.2)
    assert controller.report(0.25).execution.delay == pytest.approx(0.1 / DT)


def test_rows_are_those_of_the_chunk_before(make_controller, make_chunk, straight, run):
    controller = make_controller()
    controller.accept(make_chunk([[0.01, 0, 0, 0]] * 10, dt=0.05), 0.0)
    run(controller, 0.0, 0.2)
    controller.accept(straight(MOVE, 0.1, 2), 0.2)
    assert controller.report(0.2).execution.delay == pytest.approx(0.1 / 0.05)


def test_warm_up_does_not_count(make_controller, straight, run, unlimited):
    # Observed while the robot waited for its first chunk, and here after that moved it for 50 ms.
    controller = make_controller(unlimited)
    run(controller, 0.0, 0.4)
    controller.accept(straight(MOVE), 0.4)
    run(controller, 0.4, 0.45)
    controller.accept(straight(MOVE, 0.05, 2), 0.45)
    assert controller.report(0.45).execution.delay == pytest.approx(0.05 / DT, abs=0.1)


def test_after_a_hold_there_is_none(make_controller, straight, run):
    controller = make_controller()
    controller.accept(straight(MOVE, rows=8), 0.0)
    run(controller, 0.0, 0.3)
    controller.accept(straight(MOVE, 0.05, 2), 0.3)
    assert math.isnan(controller.report(0.3).execution.delay)


def test_rows_stand_still_with_the_robot(make_controller, straight, run, unlimited):
    controller = make_controller({**unlimited, 'robot_delay': 0.05})
    assert controller.report(0.0).execution is None
    run(controller, 0.0, 0.4)
    controller.accept(straight(MOVE, 0.1), 0.4)
    begun = controller.report(0.4).execution
    assert (begun.stamp, begun.time, begun.row, begun.time_scale) == (0.1, 0.4, 0.0, 1.0)
    assert begun.blending == 'offset_fade'
    run(controller, 0.4, 0.5)
    # The robot shows set-points late: at 0.5 what was commanded at 0.45.
    assert controller.report(0.5).execution.row == pytest.approx(0.05 / DT, abs=0.1)
    controller.pause(0.5)
    run(controller, 0.5, 0.6)
    paused = controller.report(0.6).execution
    assert (paused.time_scale, paused.row) == (0.0, pytest.approx(0.1 / DT, abs=0.1))
    controller.resume(0.6)
    run(controller, 0.6, 0.65)
    assert controller.report(0.65).execution.row == pytest.approx(0.1 / DT, abs=0.1)


def test_the_delay_of_the_robot_is_part_of_it(make_controller, straight, run, unlimited):
    controller = make_controller({**unlimited, 'robot_delay': 0.05})
    controller.accept(straight(MOVE), 0.0)
    run(controller, 0.0, 0.2)
    controller.accept(straight(MOVE, 0.1, 2), 0.2)
    assert controller.report(0.2).execution.delay == pytest.approx(0.15 / DT)
