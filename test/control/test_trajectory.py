# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The path between the rows of a chunk."""

import numpy as np
import pytest

from efficient_vla.control.settings import INTERPOLATIONS
from efficient_vla.control.trajectory import Trajectory, knots_of
from efficient_vla.types import ControlMode

MOTION = np.array([0])
DT = 0.1


def path(make_chunk, values, interpolation, mode=ControlMode.EE_DELTA, start=0.0):
    rows = [[value, 0.0] for value in values]
    chunk = make_chunk(rows, dt=DT, mode=mode, names=('x', 'gripper'))
    return Trajectory(chunk, MOTION, 1, np.array([1.0]), start, interpolation)


def test_a_spline_matches_a_hand_computation(make_chunk):
    # Knots 1, 2, 2: m = 6 (1 - 4 + 2) / 4 = -1.5 in the middle, slopes 1.25 and -0.25 * 2 there.
    found = path(make_chunk, [1.0, 0.0], 'cubic')
    assert found.at(0.0)[:, 0] == pytest.approx([1.0, 1.25 / DT, 0.0])
    assert found.at(DT)[:, 0] == pytest.approx([2.0, 0.5 / DT, -1.5 / DT**2])
    # At half a row: 1 + 1.25 / 2 - 0.25 / 8.
    assert found.at(DT / 2)[0, 0] == pytest.approx(1.59375)


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
@pytest.mark.parametrize('count', [1, 2, 3, 40])
def test_every_row_ends_at_its_knot_and_the_last_one_stands(make_chunk, interpolation, count):
    values = np.random.default_rng(count).uniform(-1, 1, count)
    found = path(make_chunk, values, interpolation)
    knots = 1 + np.cumsum(values.astype(np.float32))
    reached = [found.at((k + 1) * DT)[0, 0] for k in range(count)]
    np.testing.assert_allclose(reached, knots, atol=1e-6)
    standing = [knots[-1], 0.0, 0.0]
    np.testing.assert_allclose(found.at((count + 0.01) * DT)[:, 0], standing, atol=1e-6)
    np.testing.assert_allclose(found.at(99.0)[:, 0], standing, atol=1e-6)
    np.testing.assert_allclose(found.at(-1.0), found.at(0.0))


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
@pytest.mark.parametrize('start', [0.0, 1.8e9 + 0.1])
def test_at_the_very_end_the_robot_still_moves(make_chunk, interpolation, start):
    found = path(make_chunk, [0.3, 0.3, 0.6], interpolation, start=start)
    before = found.at(start + 2.999 * DT)
    np.testing.assert_allclose(found.at(found.end)[:2], before[:2], atol=0.02)


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
def test_velocity_and_acceleration_are_those_of_the_position(make_chunk, interpolation):
    found = path(make_chunk, np.sin(np.arange(10)), interpolation)
    step = 1e-5
    for time in np.linspace(0.013, 0.971, 25):
        before, here, after = (found.at(time + k * step)[:, 0] for k in (-1, 0, 1))
        assert (after[0] - before[0]) / (2 * step) == pytest.approx(here[1], rel=1e-3, abs=1e-3)
        assert (after[1] - before[1]) / (2 * step) == pytest.approx(here[2], rel=1e-3, abs=1e-3)


def test_a_spline_has_no_step_in_velocity_and_acceleration(make_chunk):
    found = path(make_chunk, np.sin(np.arange(10)), 'cubic')
    for row in range(1, 10):
        before = found.at(row * DT - 2 * DT * 1e-4)
        np.testing.assert_allclose(found.at(row * DT), before, rtol=1e-2, atol=0.1)


@pytest.mark.parametrize('interpolation', ['linear', 'cubic'])
def test_absolute_rows_come_from_their_own_line_wherever_the_robot_is(make_chunk, interpolation):
    found = path(make_chunk, [5.0, 6.0, 7.0], interpolation, ControlMode.EE_POSITION)
    assert found.at(0.0)[:2, 0] == pytest.approx([4.0, 1 / found.chunk.dt])
    assert found.at(found.chunk.dt)[0, 0] == pytest.approx(5.0)


def test_one_row_of_places_begins_at_the_anchor_and_more_come_from_their_own_line():
    anchor = np.array([0.1, 3.1])
    places, none = np.zeros(2, bool), np.zeros(2, bool)
    one = knots_of(np.array([[0.5, -3.1]]), places, anchor, np.array([False, True]))
    np.testing.assert_allclose(one, [[0.1, 3.1], [0.5, 2 * np.pi - 3.1]])
    two = knots_of(np.array([[0.5, 1.0], [0.7, 1.5]]), places, anchor, none)
    np.testing.assert_allclose(two, [[0.3, 0.5], [0.5, 1.0], [0.7, 1.5]])
    mixed = knots_of(np.array([[0.2, 1.0], [0.3, 1.5]]), np.array([True, False]), anchor, none)
    np.testing.assert_allclose(mixed, [[0.1, 0.5], [0.3, 1.0], [0.6, 1.5]])
