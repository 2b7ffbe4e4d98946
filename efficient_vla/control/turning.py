# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Orientations as a path over time.

From knot to knot a tool turns by a rotation vector about its own axes. Laid end to end these are a
path of places, see ``attitude.py``, whose spline has rate and change of rate at each knot; between
two knots the rotation vector from the first one is the polynomial of degree five that has them at
both. So the angular velocity has no kink and the angular acceleration no step, and the way about
one axis, or between two knots alone, is the geodesic.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from efficient_vla.columns import POSITION
from efficient_vla.control.quintic import quintic
from efficient_vla.control.rotations import (
    Quaternion,
    Vector,
    body_motion,
    exp,
    inverse,
    log,
    normalised,
    product,
    turn,
    vector_motion,
)
from efficient_vla.types import ActionChunk


class TurningPath:
    """The orientation along the ``knots`` [H + 1], rows of ``dt`` [s] apart, and then on the last.

    ``polynomials`` [H + 1, 4, 3] are those of the path of places, by the row.
    """

    def __init__(self, knots: Sequence[Quaternion], polynomials: np.ndarray, dt: float) -> None:
        self._knots = knots
        rows = polynomials.transpose(1, 2, 0)  # [4, 3, H + 1]
        none = np.zeros_like(rows[0])
        begin = np.array([none, rows[1], 2 * rows[2]])
        way = rows[1] + rows[2] + rows[3]
        rate, change = rows[1] + 2 * rows[2] + 3 * rows[3], 2 * rows[2] + 6 * rows[3]
        slope, bend = vector_motion(tuple(way), tuple(rate), tuple(change))
        coefficients = quintic(begin, np.array([way, slope, bend]))  # [6, 3, H + 1]
        self._polynomials = coefficients.transpose(2, 1, 0).tolist()  # [H + 1, 3, 6]
        self._dt = dt

    def at(self, index: int, x: float) -> tuple[Quaternion, Vector, Vector]:
        """Return orientation, rate and its change after ``x`` rows from knot ``index``."""
        dt = self._dt
        axes = [_at(axis, x, dt) for axis in self._polynomials[index]]
        way, slope, bend = zip(*axes, strict=True)
        return product(self._knots[index], exp(way)), *body_motion(way, slope, bend)


def _at(polynomial: list[float], x: float, dt: float) -> tuple[float, float, float]:
    """Return value and derivatives by time of a ``polynomial`` in rows of ``dt`` [s]."""
    _, a, b, c, d, e = polynomial
    return (
        x * (a + x * (b + x * (c + x * (d + x * e)))),
        (a + x * (2 * b + x * (3 * c + x * (4 * d + x * 5 * e)))) / dt,
        (2 * b + x * (6 * c + x * (12 * d + x * 20 * e))) / dt**2,
    )


def lay_out(
    chunk: ActionChunk, columns: slice, anchor: Quaternion, steps: bool
) -> tuple[list[Quaternion], np.ndarray]:
    """Return the orientations at the knots [H + 1] and the turns between them [H, 3].

    ``columns`` are the quaternion's; where ``steps``, they turn from ``anchor`` on, row by row.
    Where absolute rows themselves come from, the first one goes on backwards.
    """
    rows: list[Quaternion] = [
        normalised(row) for row in chunk.actions[:, columns].astype(np.float64).tolist()
    ]
    knots = [anchor]
    if steps:
        for row in rows:
            pair = (knots[-1], row) if chunk.frame == 'tool' else (row, knots[-1])
            knots.append(normalised(product(*pair)))
    else:
        knots += rows
    ends = tuple(np.array(knots).T)
    turns = np.array(log(product(inverse(tuple(e[:-1] for e in ends)), tuple(e[1:] for e in ends))))
    turns = turns.T
    if not steps and len(rows) > 1:
        turns[0] = turns[1]
        knots[0] = product(knots[1], exp(tuple((-turns[0]).tolist())))
    return knots, turns


def in_base(chunk: ActionChunk, knots: Sequence[Quaternion]) -> ActionChunk:
    """Return a chunk in the frame of the tool with displacements along the axes of the base.

    Its rotations still turn about those of the tool; ``knots`` [H + 1] are the orientations.
    """
    columns = [chunk.names.index(name) for name in POSITION]
    rows = chunk.actions.astype(np.float64)
    ways = rows[:, columns].tolist()
    rows[:, columns] = [turn(knot, way) for knot, way in zip(knots[:-1], ways, strict=True)]
    return replace(chunk, actions=rows)
