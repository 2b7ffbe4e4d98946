# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whoever sets the clock of the system changes stamps, and nothing of the motion."""

import numpy as np
import pytest
from control.robots import World

from efficient_vla.control.motion_clock import MotionClock
from efficient_vla.control.state import State

STEP = 0.8 * 0.01
CHANGES = {
    'set ahead': {0: 0.2},
    'set back': {0: -0.2},
    'set far back': {0: -5.0},
    'set far ahead': {0: 3600.0},
    'ahead ten times': dict.fromkeys(range(10), 0.03),
    'back ten times': dict.fromkeys(range(10), -0.03),
    'slewed': dict.fromkeys(range(200), 0.05 * 0.01),
    'slewed back': dict.fromkeys(range(200), -0.05 * 0.01),
}


def drive(changes, late=None):
    """Ask for 0.8 m/s, the limit, while the clock is changed at the ticks that ``changes`` name."""
    world = World(limits__position_high=(10.0,)).ready()
    ages = []
    for tick in range(100):
        if tick % 10 == 0:
            assert world.chunk((0.8, 0.0, 0.0)) is None
        if tick >= 50:
            world.offset += changes.get(tick - 50, 0.0)
        if tick == 55:
            # Observed before the clock was set, and here only now.
            observed = world.steady - 0.03 + world.offset - changes.get(0, 0.0)
            read = world.clock.read(observed, world.now)
            ages.append(world.steady - read)
        world.tick((late or {}).get(tick, 0.01))
    return world, ages


@pytest.mark.parametrize('how', CHANGES)
def test_a_clock_that_is_set_changes_no_set_point(how):
    world, _ = drive(CHANGES[how])
    undisturbed, _ = drive({})
    assert world.controller.state == State.TRACKING
    # A slewed clock makes an age wrong by 5 % of it, 30 ms at most: that is the way of 1.5 ms.
    allowed = 0.8 * 0.0016 if 'slewed' in how else 1e-5
    np.testing.assert_allclose(world.sent, undisturbed.sent, atol=allowed)
    assert np.diff(world.sent, axis=0).max() <= STEP + 1e-9


def test_late_ticks_are_not_made_up_for():
    late = dict.fromkeys((52, 60, 61, 70), 0.05)
    world, _ = drive({}, late)
    steps = np.diff(world.sent, axis=0)[:, 0]
    assert steps.max() <= STEP + 1e-9
    assert world.controller.state == State.TRACKING
    # At full speed every period is 8 mm, however long it was.
    np.testing.assert_allclose(steps[-40:], STEP, rtol=1e-3)
    assert world.controller.max_jerk <= 1500 * (1 + 1e-4)


def make_clock(offset=1.7e9):
    times = {'steady': 100.0, 'offset': offset}
    clock = MotionClock(lambda: times['steady'] + times['offset'], steady=lambda: times['steady'])
    clock.now()
    return clock, times


@pytest.mark.parametrize('change', [0.2, -0.2, -5.0, 3600.0])
def test_a_stamp_is_read_by_the_clock_that_made_it(change):
    clock, times = make_clock()
    stamp = times['steady'] + times['offset']
    times['steady'] += 0.05
    clock.now()
    times['offset'] += change
    times['steady'] += 0.05
    now = clock.now()
    assert clock.times_set == 1
    assert clock.read(stamp, now) == pytest.approx(100.0, abs=1e-6)
    after = times['steady'] + times['offset']
    assert clock.read(after, now) == pytest.approx(100.1, abs=1e-6)
    assert clock.stamp(now) == pytest.approx(after, abs=1e-6)


def test_a_stamp_of_the_future_stays_one():
    clock, times = make_clock()
    stamp = times['steady'] + times['offset'] + 7.0
    assert clock.read(stamp, clock.now()) == pytest.approx(107.0, abs=1e-6)


def test_a_clock_that_is_read_slowly_is_not_taken_for_one_that_was_set():
    steady, stamping = iter([0.0, 0.0, 1.0, 1.01, 2.0, 2.0]), iter([5.0, 6.002, 7.0])
    clock = MotionClock(lambda: next(stamping), steady=lambda: next(steady))
    for _ in range(3):
        clock.now()
        assert clock.times_set == 0
        assert clock.stamp(0.0) == 5.0


def test_stamps_are_as_far_apart_as_the_set_points_are_while_the_offset_may_hold():
    """A busy machine stops the process between the two clocks; a slewed clock is followed."""
    steady = iter([1.0, 1.0, 2.0, 2.0004, 3.0, 3.0, 4.0, 4.0001])
    stamping = iter([8.0, 9.0001, 10.0005, 11.0007])
    clock = MotionClock(lambda: next(stamping), steady=lambda: next(steady))
    offsets = []
    for _ in range(4):
        clock.now()
        offsets.append(clock.stamp(0.0))
    # Possible are 7, 6.9997 to 7.0001, 7.0005 exactly, and 7.0006 to 7.0007.
    assert offsets == pytest.approx([7.0, 7.0, 7.0005, 7.0006], abs=1e-12)
    assert clock.times_set == 0


def test_simulated_time_is_the_time_of_motion():
    times = {'simulated': 3.25}
    clock = MotionClock(lambda: times['simulated'], lambda: True, steady=lambda: 999.0)
    assert clock.now() == 3.25
    assert clock.read(3.0, 3.25) == 3.0
    assert clock.stamp(3.25) == 3.25


def test_stamps_are_as_far_apart_as_the_motion_to_the_nanosecond():
    steady = 1234.0
    clock = MotionClock(lambda: 1.79e9 + steady, steady=lambda: steady)
    clock.now()
    moments = steady + np.array([0.0, 0.0013457, 0.0027911])
    stamps = np.array([clock.stamp(moment).nanoseconds for moment in moments.tolist()])
    assert np.diff(stamps).tolist() == [1345700, 1445400]
    assert stamps[0] == 1790001234 * 10**9
