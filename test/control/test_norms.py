# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The velocity of a hand has one limit, whatever its direction."""

import numpy as np
import pytest

from efficient_vla.control.braking import AxisState
from efficient_vla.control.norms import VelocityNorm, coasting, keeps

DT, PERIOD = 0.0125, 0.01
VALUES = {'watchdog.chunk_timeout': 5.0, 'tool.max_velocity': 0.8}


@pytest.mark.parametrize('way', [(1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.6, -0.5, 0.4)])
def test_the_hand_goes_at_its_limit_in_any_direction(make_controller, straight, run, way):
    way = np.array(way)
    controller = make_controller(VALUES)
    controller.accept(straight(way * 1.3, rows=200), 0.0)
    path = run(controller, 0.0, 1.0)[:, :3]
    speeds = np.linalg.norm(np.diff(path, axis=0), axis=1) / PERIOD
    assert speeds.max() == pytest.approx(0.8, rel=2e-3)
    along = way / np.linalg.norm(way)
    off = path - [0.1, 0.6, 0.2]
    assert np.abs(off - np.outer(off @ along, along)).max() < 1e-3


def test_leaps_and_seams_keep_it_too(make_controller, make_chunk):
    rng = np.random.default_rng(3)
    controller = make_controller({**VALUES, 'blending.method': 'latest_only'})
    fastest = 0.0
    for step in range(600):
        now = step * PERIOD
        if step % 15 == 0:
            rows = np.tile(rng.normal(0, 0.012, 4), (40, 1))
            controller.accept(make_chunk(rows, max(now - 0.1, 0.0), step + 1), now)
        controller.tick(now + PERIOD)
        fastest = max(fastest, float(np.linalg.norm(controller.motion[1])))
    assert 0.79 < fastest <= 0.8 * (1 + 1e-6)


def test_what_an_axis_will_have_counts():
    norm = VelocityNorm((0, 2), 0.5)
    # 0.1 and 2^2 / 20 more when the acceleration has ended, and 0.4 across.
    states = [AxisState(0, 0.1, 2.0), AxisState(0, 9.0, 0.0), AxisState(0, 0.4, 0.0)]
    assert coasting(norm, states, [10.0] * 3) == pytest.approx(0.5)
    slower = [AxisState(0, 0.0, 0.0), AxisState(0, 9.0, 0.0), AxisState(0, 0.4, 0.0)]
    faster = [AxisState(0, 0.11, 2.0), *states[1:]]
    jerks = [10.0] * 3
    assert keeps(norm, slower, states, jerks, 0.01)
    assert not keeps(norm, slower, faster, jerks, 0.01)
    # A limit that was lowered meanwhile is come down to.
    assert keeps(norm._replace(velocity=0.1), faster, states, jerks, 0.01)


def test_the_way_of_a_tick_counts():
    norm = VelocityNorm((0, 1), 0.5)
    before = [AxisState(0, 0, 0), AxisState(0, 0, 0)]
    # 5 mm in 10 ms are 0.5 m/s, 3 and 4 mm across each other.
    assert keeps(norm, before, [AxisState(3e-3, 0, 0), AxisState(4e-3, 0, 0)], [1.0] * 2, 0.01)
    far = [AxisState(3.1e-3, 0, 0), AxisState(4e-3, 0, 0)]
    assert not keeps(norm, before, far, [1.0] * 2, 0.01)
