# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where one axis would be too fast all slow down, and the path stays what it is."""

import numpy as np
import pytest

from efficient_vla.control.chasing import AxisLimits
from efficient_vla.control.pace import (
    CATCH_UP,
    FASTEST,
    JERK_SHARE,
    LEAST_SPARE,
    PathLimits,
    PathPace,
)
from efficient_vla.control.state import State
from efficient_vla.control.trajectory import Trajectory
from efficient_vla.types import ControlMode

PERIOD, DT = 0.01, 0.0125
VELOCITY, ACCELERATION, JERK = 0.8, 20.0, 1500.0
AXIS = AxisLimits(VELOCITY, ACCELERATION, JERK, ACCELERATION, -10.0, 10.0)
PATIENT = {'watchdog.chunk_timeout': 5.0}


def off_line(path, way):
    """Return how far the places [T, M] get from the line from 0 along ``way`` [M]."""
    along = way / np.linalg.norm(way)
    return np.abs(path - np.outer(path @ along, along)).max()


def names_of(axes):
    return tuple(f'joint_{k}' for k in range(axes))


def path_of(make_chunk, rows, interpolation='cubic'):
    rows = np.asarray(rows, float)
    chunk = make_chunk(rows, mode=ControlMode.JOINT_POSITION, names=names_of(rows.shape[1]))
    axes = np.arange(rows.shape[1])
    return Trajectory(chunk, axes, None, np.zeros(len(axes)), 0.0, interpolation)


@pytest.mark.parametrize('axes', [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize('mode', [ControlMode.JOINT_DELTA, ControlMode.JOINT_POSITION])
def test_a_line_asked_at_twice_the_limit_stays_a_line(make_controller, make_chunk, axes, mode):
    """From the run-up through six chunks to standing still, chunks 50 ms late."""
    way = np.random.default_rng(axes).normal(size=axes)
    way *= 2 * VELOCITY / np.abs(way).max()
    if axes == 2:
        way = np.array([1.6, 0.4])
    controller = make_controller(PATIENT, names_of(axes), (0.0,) * axes)
    path, speeds, now = [], [], 0.0
    for step in range(200):
        now = step * PERIOD
        if step < 60 and step % 10 == 0:
            stamp = max(now - 0.05, 0.0)
            rows = np.tile(way * DT, (40, 1))
            if mode == ControlMode.JOINT_POSITION:
                rows = controller.setpoint(stamp) + np.cumsum(rows, axis=0)
            chunk = make_chunk(rows, stamp, step, DT, mode, names_of(axes))
            assert controller.accept(chunk, now) is None
        path.append(controller.tick(now + PERIOD).position)
        speeds.append(controller.motion[1])
    assert controller.state == State.HOLDING
    assert off_line(np.array(path), way) < 1e-3
    assert np.abs(speeds).max() == pytest.approx(VELOCITY, rel=2e-3)
    assert controller.max_jerk <= JERK * (1 + 1e-4)


@pytest.mark.parametrize('speed', [0.4, 1.6])
def test_a_curve_asked_too_fast_stays_the_curve(make_controller, make_chunk, speed):
    angles = np.arange(161) * speed / 0.1 * DT
    rows = np.diff(0.1 * np.stack([np.cos(angles), np.sin(angles)], axis=1), axis=0)
    controller = make_controller(PATIENT, names_of(2), (0.1, 0.0))
    chunk = make_chunk(rows, 0.0, 1, DT, ControlMode.JOINT_DELTA, names_of(2))
    assert controller.accept(chunk, 0.0) is None
    path = np.array([controller.tick(k * PERIOD).position for k in range(1, 180)])
    assert np.abs(np.linalg.norm(path, axis=1) - 0.1).max() < 1e-3


def test_the_limits_of_a_line_by_hand(make_chunk):
    # 1.6 and 0.4 m/s: half of the speed of the first axis is its limit.
    rows = np.outer(np.arange(1, 41) * DT, [1.6, 0.4])
    limits = PathLimits(path_of(make_chunk, rows), [AXIS, AXIS])
    fastest, slope, change = limits.at(0.1, 0.5)
    assert fastest == pytest.approx(0.5, rel=1e-4)
    assert slope == pytest.approx(20 / 1.6, rel=1e-3)
    assert change == pytest.approx(JERK_SHARE * 1500 / 1.6, rel=1e-3)
    # The second axis has a fifth of the limits of the first: it is the one that rules.
    weak = AxisLimits(0.16, 4.0, 30.0, 4.0, -10.0, 10.0)
    fastest, slope, change = PathLimits(path_of(make_chunk, rows), [AXIS, weak]).at(0.1, 0.4)
    assert (fastest, slope) == pytest.approx((0.4, 4 / 0.4), rel=1e-3)
    assert change == pytest.approx(JERK_SHARE * 30 / 0.4, rel=1e-3)


def test_the_limits_of_a_bend_by_hand(make_chunk):
    # y = 25 t^2 bends by 50 m/s^2; slow enough to be ruled by that.
    time = (np.arange(41) - 20) * DT
    rows = np.stack([0.1 * time, 25 * time**2], axis=1)[1:]
    fast = AXIS._replace(velocity=50.0)
    fastest, _, _ = PathLimits(path_of(make_chunk, rows), [fast, fast]).at(20 * DT, 0.0)
    assert fastest == pytest.approx((20 / 50) ** 0.5, rel=0.01)


def test_the_clock_slows_down_in_time_for_fast_rows(make_chunk):
    # 0.4 m/s for 20 rows, then 1.6 m/s: half the speed is the limit from 0.25 s on.
    steps = np.r_[np.full(20, 0.4), np.full(20, 1.6)] * DT
    limits = PathLimits(path_of(make_chunk, np.cumsum(steps)[:, None], 'linear'), [AXIS])
    allowed = [limits.at(clock, 0.0)[0] for clock in np.arange(0, 0.25, 0.005)]
    assert allowed[0] == pytest.approx(VELOCITY / 0.4, rel=1e-6)
    assert (np.diff(allowed) <= 1e-5).all()
    assert limits.at(0.3, 0.0)[0] == pytest.approx(0.5, rel=1e-6)
    # A quarter of the acceleration is left there, of an axis that goes at up to 1.6 m/s.
    slope = LEAST_SPARE * 20 / 1.6
    assert allowed[-1] == pytest.approx((0.5**2 + 2 * slope * 0.005) ** 0.5, rel=1e-5)


def test_an_axis_that_stands_slows_nothing(make_chunk):
    limits = PathLimits(path_of(make_chunk, np.zeros((8, 2))), [AXIS, AXIS])
    assert limits.at(0.05, 1.0)[0] == FASTEST


def test_the_clock_runs_up_within_its_limits_and_makes_up_for_the_time():
    pace = PathPace()
    still, path = np.zeros((3, 1)), np.array([[0.0], [1.0], [0.0]])
    pace.begin(still, path, 1.0, 0.0)
    assert pace.speed == 0.0
    clock, speeds = 0.0, [0.0]
    for _ in range(60):
        clock += pace.advance(PERIOD, (1.0, 0.0), (1.5, 20.0, 700.0), 1.0)
        speeds.append(pace.speed)
    slopes = np.diff(speeds) / PERIOD
    assert slopes.max() <= 20.0 + 1e-9
    assert np.abs(np.diff(slopes, prepend=0.0)).max() <= 700 * PERIOD + 1e-6
    assert max(speeds) <= 1.5 + 1e-9
    assert clock == pytest.approx(60 * PERIOD, abs=1e-9)
    assert (pace.speed, pace.slope) == (1.0, 0.0)


def test_more_than_the_debt_is_given_up():
    pace = PathPace()
    pace.begin(np.zeros((3, 1)), np.ones((3, 1)), 1.0, 0.0)
    clock = sum(pace.advance(PERIOD, (1.0, 0.0), (0.5, 20.0, 700.0), 1.0) for _ in range(100))
    assert clock == pytest.approx(0.5, abs=0.03)
    clock += sum(pace.advance(PERIOD, (1.0, 0.0), (9.0, 20.0, 700.0), 1.0) for _ in range(100))
    assert clock == pytest.approx(0.5 + 1.0 + 0.1, abs=0.03)
    assert pace.speed <= CATCH_UP


def test_a_set_point_in_motion_goes_on_at_its_speed():
    pace = PathPace()
    motion = np.array([[0.0, 0.0], [0.3, 0.4], [0.6, 0.8]])
    path = np.array([[0.0, 0.0], [0.6, 0.8], [0.0, 0.0]])
    pace.begin(motion, path, 1.0, 0.0)
    assert (pace.speed, pace.slope) == pytest.approx((0.5, 1.0))
    pace.begin(-motion, path, 1.0, 0.0)
    assert (pace.speed, pace.slope) == (0.0, 0.0)


def test_a_robot_that_brakes_on_a_line_stays_on_it(make_controller, straight, run):
    # Alone, y would stand at 0.2 m/s after 24 ms, and x at 0.8 m/s after 53 ms.
    controller = make_controller({'blending.method': 'latest_only'})
    controller.accept(straight((0.8, 0.2, 0.0), rows=24), 0.0)
    path = run(controller, 0.0, 0.6)[:, :3] - [0.1, 0.6, 0.2]
    assert controller.state == State.HOLDING
    assert off_line(path, np.array([0.8, 0.2, 0.0])) < 2e-4


@pytest.mark.parametrize('ending', ['pause', 'runs out'])
def test_what_a_brake_went_is_not_gone_back(make_controller, straight, run, ending):
    controller = make_controller(PATIENT)
    controller.accept(straight((0.8, 0.2, 0.0), rows=200 if ending == 'pause' else 24), 0.0)
    run(controller, 0.0, 0.3)
    if ending == 'pause':
        controller.pause(0.3)
    run(controller, 0.3, 0.36)
    if ending == 'pause':
        controller.resume(0.36)
    else:
        assert controller.state == State.DECELERATING
        controller.accept(straight((0.8, 0.2, 0.0), 0.3, 2), 0.36)
    assert np.diff(run(controller, 0.36, 0.5)[:, :2], axis=0).min() > 0


def test_the_nearest_place_of_a_path_is_sought_where_it_may_be(make_chunk):
    rows = np.outer(np.arange(1, 41) * DT, [1.0, 1.0])
    path = path_of(make_chunk, rows)
    beside = np.array([0.2, 0.1])
    assert path.nearest(beside, 0.0, 1.0) == pytest.approx(0.15, abs=1e-5)
    assert path.nearest(beside, 0.0, 0.1) == pytest.approx(0.1)
    assert path.nearest(beside, 0.18, 0.1) == pytest.approx(0.18)
    assert path.nearest(np.array([9.0, 9.0]), 0.0, 9.0) == path.end


def test_no_time_is_made_up_for_that_the_next_chunk_needs():
    pace = PathPace()
    pace.begin(np.zeros((3, 1)), np.ones((3, 1)), 1.0, 0.0)
    limits = (9.0, 20.0, 700.0)
    clocks = [pace.advance(PERIOD, (1.0, 0.0), limits, 0.005) for _ in range(40)]
    assert 40 * PERIOD - sum(clocks) > 0.02
    assert pace.speed == pytest.approx(1.0)
