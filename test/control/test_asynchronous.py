# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference beside motion: no stall, no repeat, no leap, whatever the latency."""

import numpy as np
import pytest

from efficient_vla.control.settings import BLENDING_METHODS
from efficient_vla.control.state import State

PERIOD = 0.01
SPEED = 0.2


def stream(controller, straight, latencies, seconds, pause=0.0):
    """Run inference back to back with `latencies`; return set-points of x at each tick.

    The policy wants SPEED along x for ever. The next observation is taken `pause` seconds after
    a chunk has arrived.
    """
    latencies = iter(latencies)
    observed, arrives, sequence, positions = 0.0, next(latencies), 1, []
    for step in range(1, round(seconds / PERIOD) + 1):
        now = step * PERIOD
        if arrives <= now + 1e-9:
            controller.accept(straight((SPEED, 0, 0), observed, sequence), now)
            observed, sequence = now + pause, sequence + 1
            arrives = observed + next(latencies)
        positions.append(controller.tick(now).position[0])
    return np.array(positions)


def constant(latency):
    while True:
        yield latency


def warming_up(first, latency):
    yield first
    yield from constant(latency)


@pytest.mark.parametrize('method', BLENDING_METHODS)
@pytest.mark.parametrize('latency', [0.02, 0.1, 0.24])
def test_with_latency_below_the_horizon_the_robot_never_stalls(
    make_controller, straight, method, latency
):
    controller = make_controller({'blending.method': method})
    positions = stream(controller, straight, constant(latency), 4.0)
    steps = np.diff(positions)
    # The lag of the run-up echoes with each chunk that was observed during it.
    np.testing.assert_allclose(steps[round(latency / PERIOD) + 20 :], SPEED * PERIOD, rtol=0.1)
    np.testing.assert_allclose(steps[-100:], SPEED * PERIOD, rtol=0.02)
    assert controller.underruns == 0
    assert controller.rejected == 0
    assert controller.max_seam < 0.002


@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_a_slow_first_inference_makes_no_leap(make_controller, straight, method):
    # A latency of 0.4 s instead of 0.04 s: aligned by the clock, the robot would leap by 8 cm.
    controller = make_controller({'blending.method': method})
    positions = stream(controller, straight, warming_up(0.4, 0.04), 2.0)
    steps = np.diff(positions)
    assert positions[38] == 0.1
    assert steps.max() <= 1.3 * SPEED * PERIOD
    assert controller.max_seam < 0.002
    assert controller.rejected == 0


def test_a_first_inference_beyond_the_horizon_is_rejected_and_the_next_one_drives(
    make_controller, straight
):
    controller = make_controller()
    positions = stream(controller, straight, warming_up(1.0, 0.1), 2.0)
    assert controller.rejected == 1
    assert positions[105] == 0.1
    assert np.diff(positions).max() <= 1.3 * SPEED * PERIOD
    assert positions[-1] > 0.2


def test_slow_inference_with_pauses_runs_dry_and_recovers(make_controller, straight):
    controller = make_controller()
    positions = stream(controller, straight, constant(0.4), 5.0, pause=0.4)
    assert controller.underruns > 2
    assert (np.diff(positions) >= -1e-12).all()
    assert controller.state in (State.TRACKING, State.HOLDING)


def test_a_chunk_that_jitters_in_arrival_does_not_move_the_path(make_controller, straight):
    rng = np.random.default_rng(0)
    controller = make_controller({'blending.method': 'latest_only'})
    latencies = (float(value) for value in rng.uniform(0.03, 0.2, 1000))
    positions = stream(controller, straight, latencies, 4.0)
    np.testing.assert_allclose(np.diff(positions)[60:], SPEED * PERIOD, rtol=1e-3)
