# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Clocks that jump, stand or stutter never make the set-point jump."""

import numpy as np
import pytest

from efficient_vla.control.state import State

MOVE = (0.8, 0.0, 0.0)


@pytest.fixture
def moving(make_controller, straight, run):
    controller = make_controller(stamp=100.0)
    controller.accept(straight(MOVE, 100.0, 5), 100.0)
    run(controller, 100.0, 100.2)
    return controller


def test_a_clock_that_jumps_back_drops_the_chunks_and_holds(moving, run):
    before = moving.tick(100.2).position[0]
    now, positions = 50.0, []
    for _ in range(20):
        positions.append(moving.tick(now).position[0])
        now += 0.01
    steps = np.diff([before, *positions])
    assert (steps >= 0).all()
    assert steps.max() <= 0.8 * 0.01 + 1e-9
    assert moving.state == State.HOLDING
    assert moving.reason == 'clock jumped back'
    assert positions[-1] - before <= 0.8 * 0.06
    np.testing.assert_array_equal(run(moving, now, now + 0.5)[:, 0], positions[-1])
    assert moving.underruns == 0


def test_after_the_jump_only_chunks_of_the_new_time_count(moving, straight, run):
    run(moving, 49.9, 50.2)
    assert 'in the future' in moving.accept(straight(MOVE, 100.2, 6), 50.2)
    assert 'before the last reset' in moving.accept(straight(MOVE, 49.8, 7), 50.2)
    assert moving.accept(straight(MOVE, 50.1, 1), 50.2) is None
    assert run(moving, 50.2, 50.4)[-1, 0] > run(moving, 50.4, 50.41)[0, 0] - 0.01


def test_before_a_tick_noticed_the_jump_no_chunk_is_taken(moving, straight):
    assert 'before the last reset' in moving.accept(straight(MOVE, 50.0, 6), 50.0)


def test_a_disabled_controller_stays_disabled_when_the_clock_jumps(moving):
    moving.disable(100.2)
    moving.tick(50.0)
    assert moving.state == State.DISABLED


def test_the_same_time_twice_gives_the_same_set_point(moving):
    first, second = moving.tick(100.25), moving.tick(100.25)
    np.testing.assert_array_equal(first.position, second.position)
    assert first.stamp == second.stamp == 100.25


def test_a_clock_that_is_stepped_back_by_less_than_a_period_waits(moving):
    first = moving.tick(100.25)
    second = moving.tick(100.245)
    np.testing.assert_array_equal(first.position, second.position)
    assert second.stamp == 100.25
    assert moving.state == State.TRACKING


def test_a_clock_that_stands_still_times_nothing_out(moving):
    for _ in range(1000):
        moving.tick(100.2)
    assert moving.state == State.TRACKING


def test_a_clock_that_jumps_ahead_brakes_for_the_age_of_the_observation(moving, run):
    before = moving.tick(100.2).position[0]
    after = run(moving, 200.0, 200.1)[:, 0]
    # The first tick after the jump moves for one period only, and already brakes.
    assert 0 < after[0] - before <= 0.8 * 0.01
    assert moving.state == State.HOLDING
    assert moving.reason == 'no observation newer than watchdog.chunk_timeout 0.5 s'
    assert moving.underruns == 1
    assert moving.max_jerk <= 1500 * (1 + 1e-4)
