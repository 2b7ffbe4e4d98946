# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Each blending method against hand computations, and what it does to a seam."""

import math

import numpy as np
import pytest

from efficient_vla.control.blending import METHODS
from efficient_vla.control.blending.offset_fade import DETOUR, derivatives, fade_polynomial
from efficient_vla.control.moment import Moment
from efficient_vla.control.settings import BLENDING_METHODS, BlendingSettings
from efficient_vla.control.trajectory import Trajectory
from efficient_vla.settings import build
from efficient_vla.types import ControlMode

MOTION = np.array([0, 1, 2])


def at(time, speed=1.0):
    """Return the moment at which a clock of this speed since 0 has come to ``speed * time``."""
    return Moment(time, speed * time, speed)


@pytest.fixture
def standing(make_chunk):
    """Make a trajectory that stands at x for `rows` rows of 0.1 s."""

    def make(x, start, rows=10):
        chunk = make_chunk([[x, 0, 0, 0]] * rows, start, dt=0.1, mode=ControlMode.EE_POSITION)
        return Trajectory(chunk, MOTION, 3, np.array([x, 0.0, 0.0]), start)

    return make


def test_every_method_of_the_settings_is_registered():
    assert tuple(METHODS) == BLENDING_METHODS


def test_temporal_ensemble_weights_match_a_hand_computation(standing):
    ensemble = METHODS['temporal_ensemble'](build(BlendingSettings, {'ensemble_decay': 0.5}))
    for x, start in ((1.0, 0.0), (2.0, 0.1), (4.0, 0.2)):
        ensemble.add(standing(x, start), at(start), np.zeros((3, 3)))
    # Weights 1, 0.60653, 0.36788 for the oldest to the newest, over their sum 1.97441.
    assert ensemble.at(at(0.5))[0][0] == pytest.approx((1 + 1.21306 + 1.47152) / 1.97441, abs=1e-5)
    # At 1.05 s the oldest has ended: weights 1 and 0.60653.
    assert ensemble.at(at(1.05))[0][0] == pytest.approx((2 + 2.42612) / 1.60653, abs=1e-5)
    # A chunk that ends now has no say: at 1.1 s only the newest speaks.
    assert ensemble.at(at(1.1))[0][0] == 4.0
    # Later only the newest speaks, also after its end.
    assert ensemble.at(at(1.15))[0][0] == 4.0
    assert ensemble.at(at(9.0))[0][0] == 4.0


def test_temporal_ensemble_does_not_ask_chunks_that_are_too_old(standing):
    ensemble = METHODS['temporal_ensemble'](build(BlendingSettings, {'ensemble_decay': 0.0}))
    for x, start in ((1.0, 0.0), (3.0, 0.1)):
        ensemble.add(standing(x, start), at(start), np.zeros((3, 3)))
    assert ensemble.at(Moment(0.4, 0.4, oldest=0.0))[0][0] == 2.0
    assert ensemble.at(Moment(0.41, 0.41, oldest=0.01))[0][0] == 3.0


@pytest.mark.parametrize('decay', [-10.0, 10.0])
def test_temporal_ensemble_of_many_chunks_stays_finite(standing, decay):
    ensemble = METHODS['temporal_ensemble'](build(BlendingSettings, {'ensemble_decay': decay}))
    for count in range(200):
        ensemble.add(standing(float(count), 0.001 * count), at(0.001 * count), np.zeros((3, 3)))
    # The oldest, or the newest, which is the only one after the first 31; e^-10 is next.
    favoured = 0.0 if decay > 0 else 199.0 - (199.0 - 30.0) * math.exp(-10)
    assert ensemble.at(at(0.5))[0][0] == pytest.approx(favoured, abs=1e-4)


def test_weighted_average_matches_a_hand_computation(standing):
    average = METHODS['weighted_average'](build(BlendingSettings, {}))
    average.add(standing(1.0, 0.0), at(0.0), np.zeros((3, 3)))
    assert average.at(at(0.1))[0][0] == 1.0
    # They overlap from 0.6 to 1 s: the weight of the newest is a quarter at 0.7 s.
    average.add(standing(3.0, 0.6), at(0.6), np.zeros((3, 3)))
    assert average.at(at(0.6))[:, 0] == pytest.approx([1.0, 2.0 / 0.4, 0.0])
    assert average.at(at(0.7))[:, 0] == pytest.approx([1.5, 2.0 / 0.4, 0.0])
    # The next one averages with the average under way and overlaps with the second to 1.6 s.
    average.add(standing(9.0, 0.8), at(0.8), np.zeros((3, 3)))
    assert average.at(at(0.8))[0][0] == pytest.approx(2.0)
    assert average.at(at(0.9))[0][0] == pytest.approx(2.5 + (9 - 2.5) / 8)
    assert average.at(at(1.2))[0][0] == pytest.approx(3 + (9 - 3) / 2)
    assert average.at(at(1.6))[:, 0] == pytest.approx([9.0, 0.0, 0.0])


def test_weighted_average_takes_a_set_time(standing):
    average = METHODS['weighted_average'](build(BlendingSettings, {'average_time': 0.2}))
    average.add(standing(1.0, 0.0), at(0.0), np.zeros((3, 3)))
    average.add(standing(3.0, 0.1), at(0.1), np.zeros((3, 3)))
    assert average.at(at(0.2))[0][0] == pytest.approx(2.0)
    assert average.at(at(0.3))[0][0] == 3.0


@pytest.mark.parametrize('speed', [1.0, 0.5])
def test_weighted_average_leaves_a_chunk_before_it_is_too_old(standing, speed):
    timeout = 0.4
    average = METHODS['weighted_average'](build(BlendingSettings, {}))

    def x(time):
        return average.at(Moment(time, speed * time, speed, oldest=time - timeout))[0][0]

    average.add(standing(1.0, 0.0), at(0.0, speed), np.zeros((3, 3)))
    moment = Moment(0.2, speed * 0.2, speed, oldest=0.2 - timeout)
    average.add(standing(3.0, 0.2), moment, np.zeros((3, 3)))
    assert x(0.2) == pytest.approx(1.0)
    assert x(0.3) == pytest.approx(2.0)
    assert x(0.4) == pytest.approx(3.0)
    assert len(average._members) == 1


def test_weighted_average_drops_a_chunk_that_is_too_old(standing):
    average = METHODS['weighted_average'](build(BlendingSettings, {}))
    average.add(standing(1.0, 0.0), at(0.0), np.zeros((3, 3)))
    average.add(standing(3.0, 0.2), at(0.2), np.zeros((3, 3)))
    # The clock was slowed meanwhile, so that the weight did not rise in time.
    assert average.at(Moment(0.5, 0.3, 0.1, oldest=0.1))[0][0] == 3.0


def test_weighted_average_says_the_velocity_and_acceleration_of_its_path(straight):
    average = METHODS['weighted_average'](build(BlendingSettings, {}))
    for count, speed in enumerate((0.1, -0.3, 0.4)):
        chunk = straight((speed, 0, 0), 0.1 * count)
        chunk.actions[:, 1] = 0.01 * np.sin(np.arange(40) + count)
        trajectory = Trajectory(chunk, MOTION, 3, np.zeros(3), 0.1 * count, 'cubic')
        average.add(trajectory, at(0.1 * count), np.zeros((3, 3)))
    step = 1e-5
    for time in np.linspace(0.211, 0.49, 20):
        before, here, after = (average.at(at(time + k * step)) for k in (-1, 0, 1))
        for order in (0, 1):
            slope = (after[order] - before[order]) / (2 * step)
            np.testing.assert_allclose(slope, here[order + 1], rtol=1e-3, atol=1e-2)


def test_weighted_average_of_many_chunks_keeps_what_still_counts(standing):
    average = METHODS['weighted_average'](build(BlendingSettings, {}))
    for count in range(500):
        average.add(standing(1.0, 0.1 * count), at(0.1 * count), np.zeros((3, 3)))
        average.at(at(0.1 * count + 0.05))
    assert len(average._members) <= 11


def test_offset_fade_goes_on_from_the_motion_of_the_set_point(standing):
    fading = METHODS['offset_fade'](build(BlendingSettings, {'fade_time': 0.2}))
    fading.add(standing(1.0, 0.0), at(0.0), np.zeros((3, 3)))
    motion = np.array([[1.1, 0.2, 0.0], [0.3, -0.1, 0.0], [2.0, 0.0, 1.0]])
    fading.add(standing(1.0, 0.5), at(0.5), motion)
    np.testing.assert_allclose(fading.at(at(0.5)), motion, atol=1e-12)
    np.testing.assert_allclose(fading.at(at(0.7)), standing(1.0, 0.5).at(0.7), atol=1e-12)


def test_offset_fade_does_not_go_far_the_other_way(standing, straight):
    fading = METHODS['offset_fade'](build(BlendingSettings, {'fade_time': 0.15}))
    fading.add(standing(0.0, 0.0), at(0.0), np.zeros((3, 3)))
    # A chunk that leaves at 5 m/s, while the set-point stands still.
    chunk = straight((5.0, 0.0, 0.0), 0.5)
    fading.add(Trajectory(chunk, MOTION, 3, np.zeros(3), 0.5), at(0.5), np.zeros((3, 3)))
    astray = [fading.at(at(time))[0, 0] - 5 * (time - 0.5) for time in np.linspace(0.5, 0.7, 200)]
    assert min(astray) == pytest.approx(-DETOUR, rel=1e-3)


def test_offset_fade_does_not_rush_after_the_run_up(make_controller, straight, unlimited, run):
    controller = make_controller(unlimited)
    controller.accept(straight((0.2, 0, 0)), 0.0)
    steps = np.diff(run(controller, 0.0, 0.4)[:, 0])
    assert steps.max() <= 0.2 * 0.01 + 1e-9


def minimum_jerk(progress):
    """Weight of an offset in position alone, by its closed form."""
    return 1 - progress**3 * (10 - 15 * progress + 6 * progress**2)


def test_the_fade_of_a_position_is_the_minimum_jerk_polynomial():
    polynomial = fade_polynomial(np.array([[2.0], [0.0], [0.0]]), 0.5)
    for progress in (0.0, 0.25, 0.5, 0.9, 1.0):
        value = (derivatives(progress * 0.5) @ polynomial)[0, 0]
        assert value == pytest.approx(2.0 * minimum_jerk(progress), abs=1e-12)


def test_the_fade_takes_over_the_whole_motion_and_ends_without_any():
    offset = np.array([[0.03, -0.01], [0.4, 0.0], [-3.0, 2.0]])
    polynomial = fade_polynomial(offset, 0.15)
    np.testing.assert_allclose(derivatives(0.0) @ polynomial, offset, atol=1e-12)
    np.testing.assert_allclose(derivatives(0.15) @ polynomial, 0.0, atol=1e-11)
    times = np.linspace(0, 0.15, 1001)
    motions = np.array([derivatives(time) @ polynomial for time in times])  # [T, 3, M]
    for order in (0, 1):
        slope = np.gradient(motions[:, order], times, axis=0)[1:-1]
        np.testing.assert_allclose(slope, motions[1:-1, order + 1], atol=2e-3 * 100**order)


def offset_chunk(straight, offset, stamp, sequence):
    """A chunk that stands still except for a displacement of x in its first row."""
    chunk = straight((0, 0, 0), stamp, sequence)
    chunk.actions[0, 0] = offset
    return chunk


def test_a_offset_fades_over_fade_time(make_controller, straight, unlimited, run):
    controller = make_controller(
        {**unlimited, 'blending.fade_time': 0.2, 'interpolation': 'linear'}
    )
    controller.accept(straight((0, 0, 0)), 0.0)
    run(controller, 0.0, 0.1)
    controller.accept(offset_chunk(straight, 0.04, 0.05, 2), 0.1)
    assert controller.max_seam == pytest.approx(0.04)
    travelled = run(controller, 0.1, 0.35)[:, 0] - 0.1
    expected = [0.04 * (1 - minimum_jerk(min(k / 20, 1.0))) for k in range(1, 26)]
    np.testing.assert_allclose(travelled, expected, atol=1e-9)


def test_without_fade_time_offset_fade_is_latest_only(make_controller, straight, unlimited, run):
    positions = []
    for values in ({'blending.fade_time': 0.0}, {'blending.method': 'latest_only'}):
        controller = make_controller({**unlimited, **values})
        controller.accept(straight((0.1, 0, 0)), 0.0)
        before = run(controller, 0.0, 0.1)
        controller.accept(straight((-0.1, 0.2, 0), 0.05, 2), 0.1)
        positions.append(np.concatenate([before, run(controller, 0.1, 0.3)]))
    np.testing.assert_array_equal(*positions)


def test_offset_fade_costs_far_less_jerk_than_switching(make_controller, straight, unlimited, run):
    jerk = {}
    for method in BLENDING_METHODS:
        controller = make_controller({**unlimited, 'blending.method': method})
        controller.accept(straight((0.1, 0, 0)), 0.0)
        run(controller, 0.0, 0.2)
        controller._jerk.largest = 0.0
        controller.accept(straight((0.1, 0.02, 0), 0.1, 2), 0.2)
        run(controller, 0.2, 0.4)
        jerk[method] = controller.max_jerk
    assert jerk['offset_fade'] < 0.25 * jerk['latest_only']
    assert jerk['temporal_ensemble'] < jerk['latest_only']


@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_a_changed_method_does_not_make_the_set_point_jump(make_controller, straight, run, method):
    controller = make_controller()
    controller.accept(straight((0.2, 0, 0)), 0.0)
    run(controller, 0.0, 0.1)
    controller.accept(straight((0.2, 0.4, 0), 0.05, 2), 0.1)
    run(controller, 0.1, 0.15)
    controller.configure(build(type(controller.settings), {'blending.method': method}))
    run(controller, 0.15, 0.4)
    assert controller.max_jerk <= 1500 * 1.001


def test_a_fade_is_the_same_at_any_speed_of_the_clock(standing):
    found = {}
    for speed in (1.0, 0.2):
        fading = METHODS['offset_fade'](build(BlendingSettings, {'fade_time': 0.15}))
        fading.add(standing(1.0, 0.0), at(0.0, speed), np.zeros((3, 3)))
        motion = np.array([[1.0, 0.0, 0.0], [0.02, 0.0, 0.0], [20.0, 0.0, 0.0]])
        fading.add(standing(1.0, 0.0), at(0.0, speed), motion)
        times = np.linspace(0.0, 0.2, 41)
        found[speed] = np.array([fading.at(at(time, speed))[:, 0] for time in times])
    np.testing.assert_array_equal(found[0.2], found[1.0])
    assert found[1.0][:, 0].max() > 1.005
    assert found[1.0][-1].tolist() == [1.0, 0.0, 0.0]


def test_a_slowed_average_takes_as_long(standing):
    average = METHODS['weighted_average'](build(BlendingSettings, {'average_time': 0.2}))
    average.add(standing(1.0, 0.0), at(0.0, 0.5), np.zeros((3, 3)))
    average.add(standing(3.0, 0.1), at(0.2, 0.5), np.zeros((3, 3)))
    assert average.at(at(0.3, 0.5))[0][0] == pytest.approx(2.0)
    assert average.at(at(0.4, 0.5))[0][0] == 3.0


@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_every_method_says_velocity_and_acceleration_by_time(method, straight):
    blending = METHODS[method](build(BlendingSettings, {'average_time': 0.2}))
    slow = 0.4
    for count, speed in enumerate((0.1, 0.3)):
        begin = 0.25 * count
        trajectory = Trajectory(
            straight((speed, 0, 0)), MOTION, 3, np.zeros(3), slow * begin, 'cubic'
        )
        blending.add(trajectory, at(begin, slow), np.zeros((3, 3)))
    step = 1e-5
    for time in (0.3, 0.38, 0.6):
        before, here, after = (blending.at(at(time + k * step, slow)) for k in (-1, 0, 1))
        for order in (0, 1):
            slope = (after[order] - before[order]) / (2 * step)
            np.testing.assert_allclose(slope, here[order + 1], rtol=1e-3, atol=1e-2)
