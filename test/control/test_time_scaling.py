# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunks that come later than they last are executed slower, not with stops in between."""

import numpy as np
import pytest

from efficient_vla.control.moment import Moment
from efficient_vla.control.state import State
from efficient_vla.control.time_scaling import LAG, RATE, TimeScaling

PERIOD = 0.01
MOVE = (0.2, 0.0, 0.0)
PATIENT = {'watchdog.chunk_timeout': 1.5, 'ramp_time': 0.0}


def one_at_a_time(controller, straight, latency, seconds):
    """Ask for a chunk of 0.5 s whenever the last has come; return positions, scales and states."""
    observed, arrives, sequence = 0.0, latency, 1
    positions, scales, states = [], [], []
    for step in range(1, round(seconds / PERIOD) + 1):
        now = step * PERIOD
        if arrives <= now + 1e-9:
            assert controller.accept(straight(MOVE, observed, sequence), now) is None
            observed, arrives, sequence = now, now + latency, sequence + 1
        positions.append(controller.tick(now).position[0])
        execution = controller.report(now).execution
        scales.append(execution.time_scale if execution else 0.0)
        states.append(controller.state)
    return np.array(positions), np.array(scales), states


def test_a_robot_that_stopped_for_every_chunk_goes_on_slower(make_controller, straight):
    found = {}
    for low in (0.5, 1.0):
        controller = make_controller({**PATIENT, 'time_scaling.low': low})
        found[low] = one_at_a_time(controller, straight, 0.4, 6.0)
    for low, (_, _, states) in found.items():
        standing = np.mean([state != State.TRACKING for state in states[300:]])
        assert standing == pytest.approx(0.0 if low == 0.5 else 0.375, abs=0.03)
    slowed, full = found[0.5], found[1.0]
    # Half of each chunk in every 0.4 s: as far in the same time.
    assert slowed[1][300:] == pytest.approx(0.25 / 0.4, abs=0.04)
    # Blending makes up for what the limits held back; no step is a stop.
    assert np.diff(slowed[0][300:]).min() > 0.5 * 0.625 * 0.2 * PERIOD
    assert slowed[0][-1] - slowed[0][300] == pytest.approx(full[0][-1] - full[0][300], rel=0.1)


def test_a_robot_whose_chunks_come_in_time_is_not_slowed(make_controller, straight):
    paths = []
    for low in (0.5, 1.0):
        controller = make_controller({**PATIENT, 'time_scaling.low': low})
        paths.append(one_at_a_time(controller, straight, 0.2, 4.0)[0])
    np.testing.assert_array_equal(*paths)


@pytest.mark.parametrize('threshold', [0.0, 0.1])
def test_who_asks_when_a_chunk_nears_its_end_is_not_slowed(make_controller, straight, threshold):
    # The slower a chunk is executed, the later the next one would be asked for.
    paths = []
    for low in (0.1, 1.0):
        controller = make_controller({**PATIENT, 'time_scaling.low': low})
        controller.accept(straight(MOVE, 0.0, 1), 0.0)
        arrives, sequence, path = None, 1, []
        for step in range(1, 600):
            now = step * PERIOD
            if arrives is None and controller.report(now).remaining <= threshold:
                observed, arrives = now, now + 0.3
            if arrives is not None and arrives <= now + 1e-9:
                sequence += 1
                assert controller.accept(straight(MOVE, observed, sequence), now) is None
                arrives = None
            path.append(controller.tick(now).position[0])
        paths.append(path)
    np.testing.assert_array_equal(*paths)


def test_it_goes_no_slower_than_asked_and_waits_then(make_controller, straight):
    controller = make_controller({**PATIENT, 'time_scaling.low': 0.8})
    _, scales, states = one_at_a_time(controller, straight, 0.4, 6.0)
    moving = [state == State.TRACKING for state in states]
    assert scales[moving].min() == pytest.approx(0.8, abs=0.01)
    assert not all(moving[300:])


@pytest.mark.parametrize(
    ('intervals', 'age', 'left', 'target'),
    [
        ((), 0.4, 0.1, 1.0),
        # What is asked for late is not waited for.
        ((0.4,), 0.05, 0.1, 1.0),
        ((0.4, 0.4), 0.05, 0.1, 1.0),
        ((0.4,), 0.4, 0.2, (0.2 - LAG) / (0.42 - LAG)),
        ((0.4, 0.1), 0.4, 0.2, 1.0),
        ((0.1, 0.4), 0.4, 0.2, 1.0),
        ((0.4, 0.4), 0.4, 0.3, (0.3 - LAG) / (0.42 - LAG)),
        ((0.4, 0.4), 0.4, 0.05, 0.3),
        ((0.0, 0.0), 0.0, 0.1, 1.0),
    ],
)
def test_the_speed_is_what_is_left_until_the_next_chunk(intervals, age, left, target):
    # LAG passes at the old speed, and 0.42 s are to be bridged, 5 % more than expected.
    scaling = TimeScaling(0.3)
    times = np.cumsum((0.0, *intervals))
    for time in times[:-1]:
        scaling.arrived(1.0, 1.0, time, age, np.inf)
    scaling.arrived(1.0, left, times[-1], age, np.inf)
    scaling.settle()
    assert scaling.speed == pytest.approx(target)


def test_what_would_be_too_old_is_not_saved():
    # 0.1 s until the chunk is too old: what is left is executed as it is.
    scaling = TimeScaling(0.1)
    for step in range(3):
        scaling.arrived(1.0, 0.1, 0.4 * step, 0.4, 0.4 * step + 0.1)
    assert scaling._target == 1.0


@pytest.mark.parametrize(('latency', 'rows'), [(0.08, 10), (0.1, 12), (0.3, 40), (0.45, 40)])
def test_the_speed_settles(make_controller, make_chunk, latency, rows):
    def short(move, stamp, sequence):
        return make_chunk([[0.0025, 0, 0, 0]] * rows, stamp, sequence)

    controller = make_controller(PATIENT)
    _, scales, states = one_at_a_time(controller, short, latency, 8.0)
    assert np.ptp(scales[500:]) < 0.12
    assert np.mean([state != State.TRACKING for state in states[500:]]) < 0.03


def test_a_chunk_that_gets_too_old_gets_as_far_as_without(make_controller, straight):
    # The default watchdog ends a chunk 0.1 s after it came.
    ends = []
    for low in (0.1, 1.0):
        controller = make_controller({'time_scaling.low': low, 'ramp_time': 0.0})
        ends.append(one_at_a_time(controller, straight, 0.4, 6.0)[0][-1])
    assert ends[0] == pytest.approx(ends[1], rel=0.02)


def test_the_adaptive_horizon_does_not_shrink_with_the_speed(make_controller, straight):
    ends = []
    for low in (0.1, 1.0):
        values = {**PATIENT, 'time_scaling.low': low, 'horizon.method': 'adaptive'}
        controller = make_controller({**values, 'horizon.low': 0.3, 'horizon.disagreement': 0.01})
        ends.append(one_at_a_time(controller, straight, 0.39, 6.0)[0][-1])
    assert ends[0] > 0.9 * ends[1]


def test_a_full_chunk_brings_half_of_the_speed_back():
    # All of it would be too fast: what is executed now is missing in the next chunk.
    scaling = TimeScaling(0.1)
    for step, left in enumerate((0.4, 0.4, 0.1, 0.4)):
        scaling.arrived(1.0, left, 0.4 * step, 0.4, np.inf)
        scaling.settle()
    assert scaling.speed == pytest.approx((0.1 + 1) / 2)


def test_the_speed_changes_without_a_step_and_without_overshoot():
    scaling = TimeScaling(0.5)
    for step in range(3):
        scaling.arrived(1.0, 0.2, 0.4 * step, 0.4, np.inf)
    period = 0.002
    speeds = [scaling.speed]
    for _ in range(300):
        scaling.advance(period)
        speeds.append(scaling.speed)
    slopes = np.diff(speeds) / period
    assert speeds[0] == 1.0
    assert speeds[-1] == pytest.approx(0.5, abs=1e-3)
    assert min(speeds) >= 0.5
    assert np.abs(np.diff(slopes, prepend=0.0)).max() < RATE**2 * 0.5 * period * 1.1


def test_late_ticks_do_not_shake_the_speed():
    scaling = TimeScaling(0.5)
    for step in range(3):
        scaling.arrived(1.0, 0.2, 0.4 * step, 0.4, np.inf)
    speeds = []
    for _ in range(60):
        scaling.advance(1.0)
        speeds.append(scaling.speed)
    assert min(speeds) >= 0.5
    assert speeds[-1] == pytest.approx(0.5, abs=1e-3)


def test_a_motion_by_the_clock_is_that_of_its_path_by_time():
    motion = np.array([[0.3], [0.7], [-2.0]])
    moment = Moment(2.0, 1.5, 0.6, -3.0)
    step = 1e-4
    # By hand: t from now the clock is at speed t + slope t^2 / 2 from here.
    clock = np.array([moment.speed * t + moment.slope * t**2 / 2 for t in (-step, 0.0, step)])
    before, here, after = motion[0] + motion[1] * clock + motion[2] * clock**2 / 2
    found = moment.by_time(motion)
    assert found[0] == here
    assert found[1] == pytest.approx((after - before) / (2 * step), rel=1e-5)
    assert found[2] == pytest.approx((after - 2 * here + before) / step**2, rel=1e-4)


def test_neutral_it_changes_no_number():
    scaling = TimeScaling(1.0)
    for step in range(5):
        scaling.arrived(1.0, 0.01, 0.4 * step, 0.4, np.inf)
        scaling.advance(0.01)
    assert (scaling.speed, scaling.slope) == (1.0, 0.0)
    motion = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_array_equal(Moment(1.0, 1.0).by_time(motion), motion)


@pytest.mark.parametrize('left', [-0.1, 0.0, 0.1])
def test_chunk_that_came_at_once_has_a_speed(left):
    scaling = TimeScaling(0.1)
    for time in (0.0, 0.4):
        scaling.arrived(1.0, left, time, 0.0, np.inf)
    assert scaling._target == (1.0 if left > 0 else 0.1)


def test_time_to_spare_is_what_age_and_interval_leave_of_a_chunk():
    scaling = TimeScaling(0.1)
    # Of the first one nobody knows when the next will come: within a second, perhaps.
    scaling.arrived(2.5, 2.5, 0.1, 0.1, np.inf)
    assert scaling.spare == pytest.approx(1.4)
    scaling.restart()
    scaling.arrived(0.5, 0.5, 0.1, 0.1, np.inf)
    assert scaling.spare == 0.0
    scaling.arrived(0.5, 0.4, 0.15, 0.1, np.inf)
    assert scaling.spare == pytest.approx(0.3)
    scaling.arrived(0.5, 0.4, 0.35, 0.1, np.inf)
    assert scaling.spare == pytest.approx(0.2)
    scaling.arrived(0.5, 0.1, 0.4, 0.3, np.inf)
    assert scaling.spare == 0.0


def test_a_robot_that_is_slowed_to_nothing_leaves_a_speed():
    scaling = TimeScaling(0.1)
    scaling.limit(0.0)
    for step in range(200):
        scaling.advance(0.01 if step % 3 else 0.05)
        assert scaling.speed > 0
    scaling.settle()
    assert 0 < scaling.speed <= 0.01
    scaling.limit(1.0)
    for _ in range(100):
        scaling.advance(0.01)
    assert scaling.speed == pytest.approx(1.0, abs=1e-6)
