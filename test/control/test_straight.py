# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Axes make up for a leap together: the way to the reference is straight."""

import numpy as np
import pytest

from efficient_vla.control.braking import AxisState
from efficient_vla.control.chasing import AxisLimits
from efficient_vla.control.limits import Limiter
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.control.straight import in_step
from efficient_vla.settings import build

PERIOD = 0.01
LIMITS = build(ControllerSettings, {}).limits
AXIS = AxisLimits(0.8, 20.0, 1500.0, 20.0, -10.0, 10.0)
STILL = AxisState(0.0, 0.0, 0.0)


def leap(way, speed, ticks=120, limits=LIMITS):
    """Return places beside a reference [T, M] that moves at ``speed`` and leaps by ``way``."""
    limiter = Limiter(limits, np.zeros(len(way)))
    motion = np.array([np.zeros_like(speed), speed, np.zeros_like(speed)])
    limiter._take([AxisState(*axis) for axis in motion.T])
    places = []
    for tick in range(1, ticks):
        now = PERIOD * tick
        limiter.follow(motion + [way + speed * now, 0 * way, 0 * way], PERIOD)
        places.append(limiter.position - speed * now)
    return np.array(places)


def off_line(path, way):
    along = way / np.linalg.norm(way)
    return np.abs(path - np.outer(path @ along, along)).max()


@pytest.mark.parametrize('speed', [(0.0, 0.0, 0.0), (0.3, -0.2, 0.1)])
@pytest.mark.parametrize('way', [(0.1, 0.03, -0.05), (0.4, -0.02, 0.2), (0.01, 0.0, 0.004)])
def test_a_leap_is_made_up_for_on_a_straight_way(way, speed):
    way, speed = np.array(way), np.array(speed)
    path = leap(way, speed)
    np.testing.assert_allclose(path[-1], way, atol=1e-9)
    assert off_line(path, way) < 2e-4
    # No later than the axis that takes longest would be there alone.
    alone = leap(way[:1], speed[:1])
    late = np.abs(path[:, 0] - way[0]) > 1e-9
    assert late.sum() <= (np.abs(alone[:, 0] - way[0]) > 1e-9).sum() + 1


def test_limits_that_differ_are_shared_by_the_slowest():
    limits = build(
        ControllerSettings,
        {'limits.max_velocity': [0.8, 0.1], 'limits.max_acceleration': [20.0, 5.0]}
        | {'limits.stop_deceleration': [5.0], 'limits.max_jerk': [1500.0, 400.0]},
    ).limits
    way = np.array([0.1, 0.05])
    path = leap(way, np.zeros(2), limits=limits)
    assert off_line(path, way) < 2e-4
    assert np.diff(path[:, 1]).max() / PERIOD == pytest.approx(0.1, rel=1e-6)


def test_the_shares_of_a_leap_by_hand():
    far, near = AxisState(0.1, 0.0, 0.0), AxisState(-0.02, 0.0, 0.0)
    first, second = in_step([STILL, STILL], [AXIS, AXIS], [far, near], PERIOD)
    assert first.limits == AXIS
    assert second.limits[1:3] == pytest.approx((20 * 0.2, 1500 * 0.2))
    assert first.room == pytest.approx((0.8, 0.8))
    assert second.room == pytest.approx((0.16, 0.16))


def test_an_axis_on_its_reference_or_without_speed_to_spare_goes_by_itself():
    on_it = AxisState(0.3 * PERIOD, 0.3, 0.0)
    moving, at_the_limit = AxisState(0.0, 0.3, 0.0), AxisState(0.1, 0.8, 0.0)
    targets = [AxisState(0.1, 0.0, 0.0), on_it, at_the_limit]
    chases = in_step([STILL, moving, STILL], [AXIS] * 3, targets, PERIOD)
    assert [chase.limits for chase in chases] == [AXIS] * 3
    assert chases[1].room == chases[2].room == (np.inf, np.inf)


def test_a_solver_that_fails_on_one_axis_moves_the_others(monkeypatch):
    from ruckig import RuckigError

    class Unsolvable:
        def calculate(self, *_):
            raise RuckigError('no profile')

    limiters = [Limiter(LIMITS, np.zeros(2)) for _ in range(2)]
    monkeypatch.setattr(limiters[0]._chaser, '_solver', Unsolvable())
    for limiter in limiters:
        for _ in range(5):
            limiter.follow(np.array([[0.1, 0.05], [0.0, 0.0], [0.0, 0.0]]), PERIOD)
    assert limiters[0].position[0] > 1e-3
    np.testing.assert_allclose(limiters[0].motion, limiters[1].motion, atol=1e-12)
