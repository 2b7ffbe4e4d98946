# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""No chunk, seam or late tick moves the set-point outside its limits."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from efficient_vla.control.braking import AxisState
from efficient_vla.control.controller import Controller
from efficient_vla.control.limits import Limiter
from efficient_vla.control.pace import JERK_SHARE
from efficient_vla.control.settings import BLENDING_METHODS, ControllerSettings
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import ControlMode

LOW, HIGH = np.array([-0.5, 0.4, 0.05]), np.array([0.5, 1.0, 0.5])
BOX = {'limits.position_low': LOW.tolist(), 'limits.position_high': HIGH.tolist()}
VELOCITY, ACCELERATION, JERK = 0.8, 20.0, 1500.0


def assert_within_limits(positions, times, slack=1e-4):
    """Check divided differences [T, M], which average the derivatives of the motion between."""
    positions, times = np.asarray(positions), np.asarray(times)
    difference = positions
    for order, limit in enumerate((VELOCITY, ACCELERATION, JERK), start=1):
        spans = (times[order:] - times[:-order])[:, None]
        difference = order * np.diff(difference, axis=0) / spans
        assert np.abs(difference).max() <= limit * (1 + slack), f'order {order}'
    assert (positions >= LOW - 1e-9).all()
    assert (positions <= HIGH + 1e-9).all()


def drive(make_chunk, seed, method, ticks, jitter):
    """Feed chunks of random direction, speed, mode and delay; return set-points and times."""
    rng = np.random.default_rng(seed)
    values = {**BOX, 'blending.method': method, 'blending.fade_time': float(rng.uniform(0, 0.3))}
    controller = Controller(build(ControllerSettings, values), ('x', 'y', 'z', 'gripper'))
    controller.reset(np.array([0.1, 0.6, 0.2, 0.0]), 0.0)
    controller.enable(0.0)
    now, moved, sequence, positions, times = 0.0, 0.0, 0, [], []
    for _ in range(ticks):
        elapsed = 0.01 * (rng.uniform(0.3, 2.5) if jitter else 1.0)
        now += elapsed
        # A tick that missed its turn is no more motion than one in time.
        moved += elapsed if elapsed <= 0.015 else 0.01
        if rng.random() < 0.1:
            sequence += 1
            rows = rng.normal(0, rng.uniform(0, 0.02), 4) + rng.normal(0, 0.002, (20, 4))
            mode = ControlMode.EE_DELTA
            if rng.random() < 0.2:
                rows, mode = rng.uniform(-1, 1, (20, 4)), ControlMode.EE_POSITION
            stamp = max(now - rng.uniform(0, 0.2), 0.0)
            controller.accept(make_chunk(rows, stamp, sequence, mode=mode), now)
        if rng.random() < 0.002:
            controller.flush(now, 'another task')
        positions.append(controller.tick(now).position[:3])
        times.append(moved)
    return positions, times, controller


@pytest.mark.parametrize('method', BLENDING_METHODS)
@given(seed=st.integers(0, 2**32 - 1), jitter=st.booleans())
@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_limits_hold_over_thousands_of_ticks_with_random_seams(make_chunk, method, seed, jitter):
    positions, times, controller = drive(make_chunk, seed, method, 2000, jitter)
    assert_within_limits(positions, times)
    assert controller.max_jerk <= JERK * (1 + 1e-4)


def test_the_limits_are_used_to_the_full(make_chunk):
    positions, _, _ = drive(make_chunk, 0, 'latest_only', 2000, jitter=False)
    velocity = np.abs(np.diff(positions, axis=0)).max() / 0.01
    assert velocity == pytest.approx(VELOCITY, rel=1e-3)


def test_a_limit_of_one_axis_slows_all_of_them(make_controller, straight, run):
    controller = make_controller(
        {'limits.max_velocity': (0.1, 0.2, 0.8), 'limits.max_acceleration': (20.0,)}
    )
    controller.accept(straight((0.5, 0.5, 0.5)), 0.0)
    velocity = np.diff(run(controller, 0.0, 0.4)[:, :3], axis=0) / 0.01
    np.testing.assert_allclose(velocity.max(axis=0), (0.1, 0.1, 0.1), rtol=2e-3)


def test_at_full_speed_into_the_wall_the_set_point_stops_at_it(make_controller, make_chunk, run):
    controller = make_controller({**BOX, 'watchdog.chunk_timeout': 5.0})
    controller.accept(make_chunk([[0.01, 0, 0, 0]] * 120), 0.0)
    positions = run(controller, 0.0, 2.0)[:, 0]
    assert positions.max() <= 0.5
    assert positions[-1] == pytest.approx(0.5, abs=1e-4)


def test_a_robot_outside_its_box_is_not_enabled():
    controller = Controller(build(ControllerSettings, BOX), ('x', 'y', 'z', 'gripper'))
    controller.reset(np.array([0.6, 0.6, 0.2, 0.0]), 0.0)
    refused = controller.enable(0.0)
    assert refused.startswith('x is at 0.6, outside of -0.5 to 0.5; expected a robot inside')
    controller.reset(np.array([0.5005, 0.6, 0.2, 0.0]), 0.0)
    assert controller.enable(0.0) is None
    assert controller.tick(0.01).position[0] == 0.5
    controller.reset(np.array([0.6, 0.6, 0.2, 0.0]), 0.02)
    assert not controller.enabled, 'nor does it go on where it was put outside'


def test_a_set_point_that_a_smaller_box_left_outside_comes_back_and_goes_no_further_out(
    make_controller, straight, run
):
    controller = make_controller(start=(0.6, 0.6, 0.2, 0.0))
    controller.configure(build(ControllerSettings, {'ramp_time': 0.0, **BOX}))
    controller.accept(straight((0.1, 0, 0)), 0.0)
    positions = run(controller, 0.0, 0.4)[:, 0]
    assert positions.max() <= 0.6 + 1e-12
    assert positions[-1] == pytest.approx(0.5, abs=1e-6)


def test_lower_limits_are_reached_without_a_jump(make_controller, straight, run):
    controller = make_controller({'watchdog.chunk_timeout': 5.0})
    controller.accept(straight((0.7, 0, 0), rows=200), 0.0)
    run(controller, 0.0, 0.3)
    controller.configure(
        build(
            ControllerSettings,
            {
                'limits.max_velocity': (0.1,),
                'watchdog.chunk_timeout': 5.0,
            },
        )
    )
    velocity = np.diff(run(controller, 0.3, 1.0)[:, 0]) / 0.01
    assert velocity[-1] == pytest.approx(0.1, rel=0.01)
    assert controller.max_jerk <= JERK * (1 + 1e-4)


def test_a_reference_at_the_velocity_limit_is_followed(make_controller, straight, run):
    controller = make_controller({'watchdog.chunk_timeout': 5.0})
    controller.accept(straight((0.8, 0, 0), rows=200), 0.0)
    positions = run(controller, 0.0, 1.0)[:, 0]
    # The lag of the run-up stays: nothing is faster than the limit.
    run_up = 0.8 / 20 + 20 / (JERK_SHARE * 1500)
    assert 0.1 + 0.8 - positions[-1] == pytest.approx(0.8 * run_up / 2, abs=0.001)


@pytest.mark.parametrize('late', [0.0051, 0.03, 0.3])
def test_a_late_tick_never_makes_up_for_itself(make_controller, straight, run, late):
    controller = make_controller()
    controller.accept(straight((0.8, 0, 0)), 0.0)
    before = run(controller, 0.0, 0.1)[-1, 0]
    now = 0.1 + late
    steps = np.diff([before, *run(controller, now, now + 0.1)[:, 0]])
    assert steps.max() <= 0.8 * 0.01 + 1e-9
    assert steps[0] > 0.8 * 0.0099
    # The chunk goes on where it was: 8 mm in each period, as if no time had been lost.
    if late < 0.1:
        np.testing.assert_allclose(steps[:8], 0.8 * 0.01, rtol=1e-6)


def test_set_points_of_jittering_ticks_are_of_their_time(make_controller, straight, run):
    controller = make_controller()
    controller.accept(straight((0.5, 0, 0)), 0.0)
    before = run(controller, 0.0, 0.2)[-1, 0]
    for now in (0.2149, 0.22, 0.2349, 0.2351, 0.25):
        place = controller.tick(now).position[0]
        assert place - before == pytest.approx(0.5 * (now - 0.2), abs=1e-9)


def test_absurd_rows_stay_harmless(make_controller, make_chunk, run):
    controller = make_controller(BOX)
    controller.accept(make_chunk(np.full((40, 4), 3e38)), 0.0)
    controller.accept(make_chunk(np.full((40, 4), -3e38), 0.0, 2), 0.0)
    positions = run(controller, 0.0, 1.0)
    assert np.isfinite(positions).all()
    assert_within_limits(positions[:, :3], 0.01 * np.arange(1, 101))


def test_limits_for_another_number_of_axes_are_refused_and_change_nothing(make_controller):
    controller = make_controller()
    before = controller.settings
    wrong = build(ControllerSettings, {'limits.max_velocity': (0.1, 0.2)})
    with pytest.raises(InvalidSettingError, match=r'limits.max_velocity has 2 values.*3 axes'):
        controller.configure(wrong)
    assert controller.settings is before


@pytest.mark.parametrize('rate', [100.0, 500.0])
def test_a_smooth_reference_is_caught_up_with_and_then_followed_exactly(rate):
    limiter = Limiter(build(ControllerSettings, {}).limits, np.zeros(1))
    motions, references = [], []
    for step in range(1, round(rate)):
        phase = 2 * np.pi * step / rate
        waves = [np.sin(phase), 2 * np.pi * np.cos(phase), -((2 * np.pi) ** 2) * np.sin(phase)]
        references.append(0.05 * np.array(waves)[:, None])
        limiter.follow(references[-1], 1 / rate)
        motions.append(limiter.motion)
    settled = round(0.2 * rate)
    np.testing.assert_allclose(motions[settled:], references[settled:], atol=1e-9)
    # Its own jerk and none of the limiter's: 0.05 m at 1 Hz have 12.4 m/s^3.
    accelerations = np.array(motions)[settled:, 2]
    assert np.abs(np.diff(accelerations, axis=0)).max() * rate < 13


def test_a_solver_without_a_solution_brakes(monkeypatch):
    from ruckig import RuckigError

    limiter = Limiter(build(ControllerSettings, {}).limits, np.zeros(1))
    for _ in range(10):
        limiter.follow(np.array([[1.0], [0.0], [0.0]]), 0.01)
    speed = limiter.velocity[0]

    class Unsolvable:
        def calculate(self, *_):
            raise RuckigError('no profile')

    monkeypatch.setattr(limiter._chaser, '_solver', Unsolvable())
    for _ in range(10):
        limiter.follow(np.array([[1.0], [0.0], [0.0]]), 0.01)
    assert speed > 0.5
    assert limiter.at_rest


def braking(speeds, **values):
    """Return a limiter whose axes are at 0 and move at ``speeds``."""
    limits = build(ControllerSettings, {f'limits.{k}': v for k, v in values.items()}).limits
    limiter = Limiter(limits, np.zeros(len(speeds)))
    limiter._take([AxisState(0.0, speed, 0.0) for speed in speeds])
    return limiter


def test_axes_brake_together():
    # 0.8 m/s end after 0.8 / 20 + 20 / 1500 s, and 0.2 m/s alone after 2 sqrt(0.2 / 1500) s.
    limiter = braking([0.8, -0.2])
    times, path = limiter.brake_path(8)
    end = 0.8 / 20 + 20 / 1500
    assert times[-1] == pytest.approx(end)
    np.testing.assert_allclose(path[-1, 0], [0.8 * end / 2, -0.2 * end / 2])
    np.testing.assert_allclose(path[:, :, 1], path[:, :, 0] * -0.25, atol=1e-12)
    np.testing.assert_allclose(limiter.rest(*limiter.motion), path[-1, 0])
    while not limiter.at_rest:
        limiter.brake(0.004)
        assert limiter.position[1] == pytest.approx(-0.25 * limiter.position[0], abs=1e-12)


def test_an_axis_that_would_leave_the_box_brakes_with_all_it_has():
    limiter = braking([0.8, 0.2], position_high=[1.0, 0.003], position_low=[-1.0, -1.0])
    _, path = limiter.brake_path(1)
    end = 0.8 / 20 + 20 / 1500
    np.testing.assert_allclose(path[-1, 0], [0.8 * end / 2, 0.2 * (0.2 / 1500) ** 0.5])


def test_an_axis_that_still_accelerates_gets_no_faster_than_its_limit():
    limiter = braking([0.8, 0.7])
    limiter._take([AxisState(0.0, 0.8, 0.0), AxisState(0.0, 0.67, 19.0)])
    assert 0.67 + 19**2 / 3000 < 0.8
    speeds = [limiter.velocity[1]]
    while not limiter.at_rest:
        limiter.brake(0.002)
        speeds.append(limiter.velocity[1])
    assert 0.78 < max(speeds) <= 0.8


def test_a_brake_that_was_softer_for_the_sake_of_the_line_never_leaves_the_box():
    limits = build(
        ControllerSettings,
        {'limits.position_high': (0.35, 10.0), 'limits.position_low': (-10.0, -10.0)}
        | {f'limits.{name}': (20.0, 30.0) for name in ('max_acceleration', 'stop_deceleration')}
        | {'limits.max_jerk': (1500.0, 2000.0), 'limits.max_velocity': (0.8, 2.0)},
    ).limits
    for speed in np.linspace(0.5, 2.0, 40).tolist():
        limiter = Limiter(limits, np.zeros(2))
        # The hardest brake of the first axis ends at the wall; the other axis brakes longer.
        limiter._take(
            [AxisState(0.34918267792224233, 0.1636061037503947, -20.0), AxisState(0, speed, 30.0)]
        )
        while not limiter.at_rest:
            limiter.brake(0.0027)
        assert limiter.position[0] <= 0.35 + 1e-9
