# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Each blending method against hand computations, and what it does to a seam."""

import numpy as np
import pytest

from efficient_vla.control.blending import METHODS
from efficient_vla.control.blending.offset_fade import fade
from efficient_vla.control.settings import BLENDING_METHODS
from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory
from efficient_vla.settings import build
from efficient_vla.types import ControlMode

MOTION = np.array([0, 1, 2])


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
        ensemble.add(standing(x, start), start, np.zeros(3))
    # Weights 1, 0.60653, 0.36788 for the oldest to the newest, over their sum 1.97441.
    assert ensemble.at(0.5)[0][0] == pytest.approx((1 + 1.21306 + 1.47152) / 1.97441, abs=1e-5)
    # At 1.05 s the oldest has ended: weights 1 and 0.60653.
    assert ensemble.at(1.05)[0][0] == pytest.approx((2 + 2.42612) / 1.60653, abs=1e-5)
    # A chunk that ends now has no say: at 1.1 s only the newest speaks.
    assert ensemble.at(1.1)[0][0] == 4.0
    # Later only the newest speaks, also after its end.
    assert ensemble.at(1.15)[0][0] == 4.0
    assert ensemble.at(9.0)[0][0] == 4.0


@pytest.mark.parametrize('decay', [-10.0, 10.0])
def test_temporal_ensemble_of_many_chunks_stays_finite(standing, decay):
    ensemble = METHODS['temporal_ensemble'](build(BlendingSettings, {'ensemble_decay': decay}))
    for count in range(200):
        ensemble.add(standing(float(count), 0.001 * count), 0.001 * count, np.zeros(3))
    favoured = 0.0 if decay > 0 else 199.0
    assert ensemble.at(0.5)[0][0] == pytest.approx(favoured, abs=1e-3)


def test_fade_leaves_no_step_at_either_end():
    assert fade(0.0) == (1.0, 0.0)
    assert fade(0.5) == (0.5, -1.875)
    assert fade(1.0) == (0.0, 0.0)
    progress = np.linspace(0, 1, 1001)
    weights = np.array([fade(value)[0] for value in progress])
    slopes = np.array([fade(value)[1] for value in progress])
    assert (np.diff(weights) <= 0).all()
    np.testing.assert_allclose(np.gradient(weights, progress)[1:-1], slopes[1:-1], atol=1e-4)
    assert np.abs(np.diff(slopes)).max() < 0.01


def offset_chunk(straight, offset, stamp, sequence):
    """A chunk that stands still except for a displacement of x in its first row."""
    chunk = straight((0, 0, 0), stamp, sequence)
    chunk.actions[0, 0] = offset
    return chunk


def test_a_offset_fades_over_fade_time(make_controller, straight, unlimited, run):
    controller = make_controller({**unlimited, 'blending.fade_time': 0.2})
    controller.accept(straight((0, 0, 0)), 0.0)
    run(controller, 0.0, 0.1)
    controller.accept(offset_chunk(straight, 0.04, 0.05, 2), 0.1)
    assert controller.max_seam == pytest.approx(0.04)
    travelled = run(controller, 0.1, 0.35)[:, 0] - 0.1
    expected = [0.04 * (1 - fade(k / 20)[0]) for k in range(1, 26)]
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
