# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Without fresh chunks the robot stands within 100 ms, inside its limits, and says why."""

import numpy as np
import pytest
from control.arms import ARMS, names_of, settings_of

from efficient_vla.control.pace import JERK_SHARE
from efficient_vla.control.settings import ControllerSettings, axes, braking_times, stop_time
from efficient_vla.control.state import State
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import ControlMode

PERIOD, DT = 0.01, 0.0125
FULL_SPEED = (0.8, -0.8, 0.8)
STOP_TIME = 0.1


def tick_until(controller, states, begin, period=0.01):
    """Tick until the controller is in one of `states`; return the time and the set-points."""
    now, positions = begin, []
    while controller.state not in states:
        now += period
        positions.append(controller.tick(now).position[:3])
        assert now < begin + 10, 'the state was not reached within 10 s'
    return now, np.array(positions)


@pytest.mark.parametrize('period', [0.01, 0.0125, 0.004])
def test_chunks_that_run_out_at_full_speed_end_in_a_hold_within_100_ms(
    make_controller, straight, period
):
    controller = make_controller({'rate': 1 / period})
    controller.accept(straight(FULL_SPEED, rows=32), 0.0)
    lost, _ = tick_until(controller, {State.DECELERATING}, 0.0, period)
    # Nothing is faster than the limit: the rows last longer by half of the run-up.
    run_up = 0.8 / 20 + 20 / (JERK_SHARE * 1500)
    assert lost == pytest.approx(0.4 + run_up / 2, abs=1.01 * period)
    held, positions = tick_until(controller, {State.HOLDING}, lost, period)
    assert held - lost <= STOP_TIME
    assert controller.reason == 'chunk 1 ran out'
    # Hold is the set-point, not zero.
    for step in range(1, 10):
        command = controller.tick(held + step * period)
        np.testing.assert_array_equal(command.position[:3], positions[-1])
        assert not command.velocity.any()
    assert controller.max_jerk <= 1500 * (1 + 1e-4)


def test_the_slowest_stop_that_settings_allow_holds_within_100_ms(make_controller, straight):
    controller = make_controller(
        {
            'limits.stop_deceleration': (11.0,),
            'limits.max_acceleration': (11.0,),
            'watchdog.chunk_timeout': 5.0,
        }
    )
    controller.accept(straight(FULL_SPEED, rows=200), 0.0)
    lost, positions = tick_until(controller, {State.DECELERATING}, 0.0)
    assert np.abs(np.diff(positions, axis=0)).max() / 0.01 == pytest.approx(0.8, rel=0.01)
    held, _ = tick_until(controller, {State.HOLDING}, lost)
    assert held - lost <= STOP_TIME


def test_an_old_observation_stops_the_robot_although_rows_are_left(make_controller, straight):
    controller = make_controller({'watchdog.chunk_timeout': 0.2})
    controller.accept(straight(FULL_SPEED), 0.0)
    lost, _ = tick_until(controller, {State.DECELERATING}, 0.0)
    assert lost == pytest.approx(0.21)
    assert controller.reason == 'no observation newer than watchdog.chunk_timeout 0.2 s'


@pytest.mark.parametrize('method', ['temporal_ensemble', 'weighted_average'])
def test_a_chunk_that_is_too_old_has_no_say_beside_a_newer_one(
    make_controller, straight, run, method
):
    values = {'watchdog.chunk_timeout': 0.2, 'blending.method': method}
    controller = make_controller(values)
    controller.accept(straight((0.4, 0, 0)), 0.0)
    run(controller, 0.0, 0.15)
    controller.accept(straight((0, 0, 0), 0.15, 2), 0.15)
    run(controller, 0.15, 0.19)
    assert abs(controller.tick(0.19).velocity[0]) > 0.1
    run(controller, 0.19, 0.3)
    assert controller.state == State.TRACKING
    assert controller.tick(0.3).velocity[0] == pytest.approx(0.0, abs=1e-3)


def test_an_expired_plan_stops_the_robot_although_rows_are_left(make_controller, straight):
    controller = make_controller()
    controller.tick(0.0)
    controller.accept(straight(FULL_SPEED, plan_sequence=3, plan_valid_for=0.1), 0.0)
    lost, _ = tick_until(controller, {State.DECELERATING}, 0.0)
    assert lost == pytest.approx(0.11)
    assert controller.reason == 'plan 3 is older than its validity of 0.1 s'


def test_each_time_that_chunks_run_out_is_one_underrun(make_controller, straight, run):
    controller = make_controller()
    for count in (1, 2, 3):
        assert controller.accept(straight((0.1, 0, 0), count, count, rows=8), count) is None
        run(controller, count, count + 0.9)
        assert controller.underruns == count
        assert controller.state == State.HOLDING


def test_a_fresh_chunk_goes_on_from_the_hold(make_controller, straight, run):
    controller = make_controller()
    controller.accept(straight((0.2, 0, 0)), 0.0)
    held = run(controller, 0.0, 1.0)[-1, 0]
    controller.accept(straight((0.2, 0, 0), 0.95, 2), 1.0)
    assert controller.state == State.TRACKING
    positions = run(controller, 1.0, 1.3)[:, 0]
    assert held < positions[0] < held + 0.003
    assert positions[-1] == pytest.approx(held + 0.2 * 0.3, abs=0.01)
    assert controller.max_jerk <= 1500 * (1 + 1e-4)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'horizon.low': 1.0, 'horizon.high': 0.5}, 'expected low not above high'),
        ({'limits.max_velocity': (1e4,)}, 'expected at most 50'),
        ({'limits.max_acceleration': (1e7,)}, 'expected at most 10000'),
        ({'limits.max_jerk': (1e10,)}, 'expected at most 10000000'),
        ({'limits.stop_deceleration': (1e7,)}, 'expected at most 10000'),
        ({'limits.stop_deceleration': (21.0,)}, 'at most limits.max_acceleration'),
        ({'limits.position_low': (0.5, 0.0), 'limits.position_high': (0.4, 1.0)}, 'low below high'),
        ({'limits.max_velocity': (0.5, 0.5), 'limits.max_jerk': (1500.0,) * 3}, 'one for all axes'),
        ({'limits.max_velocity': ()}, 'one for all axes'),
        ({'watchdog.chunk_timeout': 0.05, 'rate': 20.0}, 'at least two periods'),
    ],
)
def test_settings_that_cannot_work_together_are_refused(values, words):
    with pytest.raises(InvalidSettingError, match=words):
        build(ControllerSettings, values)


@pytest.mark.parametrize(
    ('arm', 'seconds'),
    [
        # a/j until it no longer accelerates, v/a to brake, a/j for the end of that: joint 2.
        ('panda', 0.002 + 2.175 / 7.5 + 0.002),
        ('fr3', 0.002 + 5.26 / 10 + 0.002),
        ('ur5e', 0.05 + 1.0 + 0.05),
        # Its jerk is so low that no joint ever brakes as hard as it might.
        ('xarm6', (2 * 2.14 / 20) ** 0.5 + 2 * (2.14 / 20) ** 0.5),
        ('so101', 0.05 + 60 / 180 / 0.222 / (25400 * 2 / 4096) + 0.05),
    ],
)
def test_the_limits_of_an_arm_are_taken_and_its_braking_time_told(arm, seconds, tmp_path):
    told = braking_times(build(ControllerSettings, settings_of(arm, tmp_path)).limits)
    assert max(told) == pytest.approx(seconds, rel=1e-3)


@pytest.mark.parametrize('arm', ARMS)
def test_a_starved_arm_brakes_at_once_and_stands_in_the_time_that_its_limits_give(
    make_controller, make_chunk, arm, tmp_path
):
    """All joints at full speed: within a period they brake, together, and inside of the box."""
    values = settings_of(arm, tmp_path)
    names = names_of(arm)
    velocity, acceleration, jerk, low, high = (
        np.array(axes(values[f'limits.{name}'], len(names)))
        for name in ('max_velocity', 'max_acceleration', 'max_jerk')
        + ('position_low', 'position_high')
    )
    run_up = 1.1 * max(map(stop_time, velocity, acceleration, JERK_SHARE * jerk)) + 0.05
    start = tuple(low + 0.05)
    controller = make_controller({**values, 'watchdog.chunk_timeout': run_up}, names, start)
    row = (velocity * DT).tolist()
    rows = [row] * (int(run_up / DT) + 2)
    chunk = make_chunk(rows, 0.0, 1, DT, ControlMode.JOINT_DELTA, names)
    assert controller.accept(chunk, 0.0) is None
    motions = [controller.motion]
    while controller.state != State.HOLDING:
        controller.tick(PERIOD * len(motions))
        motions.append(controller.motion)
        assert len(motions) < 1000
    motions = np.array(motions)  # [T, 3, M]
    starved = int(np.ceil(run_up / PERIOD - 1e-6))
    # At full speed, and standing when the closed form says so.
    assert motions[starved - 1, 1] == pytest.approx(velocity, rel=2e-3)
    longest = max(map(stop_time, velocity, acceleration, jerk))
    assert (len(motions) - starved) * PERIOD == pytest.approx(longest, abs=2 * PERIOD)
    assert (motions[starved, 1] < motions[starved - 1, 1]).all()
    told = max(braking_times(controller.settings.limits))
    assert (len(motions) - starved) * PERIOD <= told + 2 * PERIOD
    assert (low <= motions[:, 0]).all()
    assert (motions[:, 0] <= high).all()
    assert (np.abs(motions[:, 2]) <= acceleration * (1 + 1e-6)).all()
    # The brake goes straight on.
    way = motions[starved:, 0] - motions[starved, 0]
    share = way[:, :1] / velocity[0]
    assert np.abs(way - share * velocity).max() < 2e-3
