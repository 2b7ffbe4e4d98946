# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""With limits that do not bind, the controller adds nothing of its own."""

import numpy as np
import pytest

from efficient_vla.control.settings import BLENDING_METHODS, INTERPOLATIONS
from efficient_vla.types import ControlMode

START = np.array([0.1, 0.6, 0.2])
DT = 0.0125


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
@pytest.mark.parametrize('method', BLENDING_METHODS)
@pytest.mark.parametrize('stamp', [0.0, 1.7e9])
def test_a_chunk_from_its_own_stamp_is_the_running_sum_of_its_rows(
    make_controller, make_chunk, unlimited, method, interpolation, stamp
):
    values = {'blending.method': method, 'interpolation': interpolation, 'rate': 80.0}
    controller = make_controller({**unlimited, **values}, stamp=stamp)
    rows = np.random.default_rng(0).uniform(-0.01, 0.01, (40, 4)).astype(np.float32)
    assert controller.accept(make_chunk(rows, stamp), stamp) is None
    commands = [controller.tick(stamp + (k + 1) * DT) for k in range(40)]
    expected = START + np.cumsum(rows[:, :3].astype(float), axis=0)
    # Seconds since 1970 have steps of 2.4e-7 s in floating point.
    tolerance = 1e-9 if stamp == 0 else 1e-6
    np.testing.assert_allclose([c.position[:3] for c in commands], expected, atol=tolerance)
    np.testing.assert_array_equal([c.position[3] for c in commands], rows[:, 3])


def test_one_chunk_a_step_is_the_running_sum_of_the_first_rows(
    make_controller, make_chunk, unlimited
):
    controller = make_controller({**unlimited, 'blending.method': 'latest_only', 'rate': 80.0})
    rng = np.random.default_rng(1)
    expected = START
    for step in range(100):
        rows = rng.uniform(-0.01, 0.01, (8, 4)).astype(np.float32)
        assert controller.accept(make_chunk(rows, step * DT, step), step * DT) is None
        expected = expected + rows[0, :3].astype(float)
        position = controller.tick((step + 1) * DT).position
        np.testing.assert_allclose(position[:3], expected, atol=1e-9)


def test_absolute_rows_are_reached_at_the_end_of_their_time(make_controller, make_chunk, unlimited):
    controller = make_controller({**unlimited, 'blending.method': 'latest_only', 'rate': 80.0})
    rows = np.random.default_rng(2).uniform(0.0, 0.5, (40, 4)).astype(np.float32)
    assert controller.accept(make_chunk(rows, mode=ControlMode.EE_POSITION), 0.0) is None
    commands = np.array([controller.tick((k + 1) * DT).position for k in range(40)])
    np.testing.assert_allclose(commands, rows, atol=1e-9)


def test_joint_rows_drive_any_number_of_axes(make_controller, make_chunk, unlimited):
    names = tuple(f'joint_{k}' for k in range(7))
    controller = make_controller(
        {**unlimited, 'blending.method': 'latest_only', 'rate': 80.0}, names, (0.0,) * 7
    )
    rows = np.random.default_rng(3).uniform(-1, 1, (40, 7)).astype(np.float32)
    chunk = make_chunk(rows, mode=ControlMode.JOINT_POSITION, names=names)
    assert controller.accept(chunk, 0.0) is None
    commands = np.array([controller.tick((k + 1) * DT).position for k in range(40)])
    np.testing.assert_allclose(commands, rows, atol=1e-9)


def test_between_rows_the_set_point_moves_on_a_straight_line(
    make_controller, make_chunk, unlimited
):
    controller = make_controller(
        {**unlimited, 'blending.method': 'latest_only', 'interpolation': 'linear'}
    )
    chunk = make_chunk([[0.01, 0, 0, 1], [0.03, 0, 0, 1], [0, 0, 0, 1]])
    assert controller.accept(chunk, 0.0) is None
    # Rows end at 12.5, 25 and 37.5 ms; ticks come at 10, 20 and 30 ms.
    travelled = [controller.tick(0.01 * k).position[0] - START[0] for k in (1, 2, 3)]
    np.testing.assert_allclose(travelled, [0.008, 0.01 + 0.6 * 0.03, 0.04], atol=1e-9)


def test_motion_within_default_limits_passes_unchanged(make_controller, straight):
    controller = make_controller({'rate': 80.0})
    chunk = straight((0.3, -0.2, 0.1), rows=200)
    assert controller.accept(chunk, 0.0) is None
    positions = np.array([controller.tick((k + 1) * DT).position[:3] for k in range(40)])
    exact = START + np.outer(np.arange(1, 41) * DT, chunk.actions[0, :3].astype(float) / DT)
    # After the run-up from standing still the set-point is on the chunk's line, exactly.
    np.testing.assert_allclose(positions[10:], exact[10:], atol=1e-9)
