# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Without fresh chunks the robot stands within 100 ms, inside its limits, and says why."""

import numpy as np
import pytest

from efficient_vla.control.settings import ControllerSettings, braking_times
from efficient_vla.control.state import State
from efficient_vla.settings import InvalidSettingError, build

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
    assert lost == pytest.approx(0.4, abs=1.01 * period)
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
    ('velocity', 'acceleration', 'jerk', 'seconds'),
    [
        # Joint 1 of a Panda and of an FR3, and the hand of a Panda, as Franka publishes them.
        (2.175, 15.0, 7500.0, 0.149),
        (2.62, 10.0, 5000.0, 0.266),
        (1.7, 13.0, 6500.0, 0.135),
        # UR5e with 800 and with 286 degrees a second squared, and at a slow setting.
        (3.1416, 13.96, 100.0, 0.504),
        (3.1416, 5.0, 500.0, 0.648),
        (1.0, 1.4, 100.0, 0.742),
        # SO-101 and xArm.
        (4.7, 20.0, 1000.0, 0.275),
        (3.14, 10.0, 1000.0, 0.334),
    ],
)
def test_limits_of_real_arms_are_taken_and_their_braking_time_told(
    make_controller, straight, velocity, acceleration, jerk, seconds
):
    """a/j until it no longer accelerates, v/a to brake, a/j for the end of that."""
    values = {
        'limits.max_velocity': (velocity,),
        'limits.max_acceleration': (acceleration,),
        'limits.stop_deceleration': (acceleration,),
        'limits.max_jerk': (jerk,),
    }
    (told,) = braking_times(build(ControllerSettings, values).limits)
    assert told == pytest.approx(seconds, abs=6e-4)
    controller = make_controller({**values, 'watchdog.chunk_timeout': 10.0})
    controller.accept(straight((-velocity, velocity, velocity), rows=100), 0.0)
    now, path = tick_until(controller, {State.DECELERATING}, 0.0)
    assert np.abs(np.diff(path, axis=0)).max() / 0.01 == pytest.approx(velocity, rel=0.01)
    held, _ = tick_until(controller, {State.HOLDING}, now)
    assert held - now <= told + 0.01
