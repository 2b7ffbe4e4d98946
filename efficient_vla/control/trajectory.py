# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A chunk as an absolute path over time.

Every control mode has its own meaning of hold, which is what the path does once its rows have
been executed: the displacement of a delta and the velocity of a twist become zero, not their last
value again, and a position is stood on. Before that time the watchdog brakes the robot where it
is, whatever the rows that are left would have wanted.
"""

import math

import numpy as np

from efficient_vla.columns import relative
from efficient_vla.control.angles import unwrapped
from efficient_vla.control.attitude import Attitude
from efficient_vla.control.rotations import UNTURNED, Quaternion
from efficient_vla.control.turning import TurningPath, in_base, lay_out
from efficient_vla.types import ActionChunk, ControlMode

TIME_TOLERANCE = 1e-4
"""Rows; a tick on a row boundary stays on its side, also in seconds since 1970 (2.4e-7 apart)."""
NEAREST = 17
"""Moments among which the nearest is sought."""


class Trajectory:
    """A path through the knots that the rows of a chunk reach.

    Row ``k`` leads from knot ``k`` to knot ``k + 1``, during ``dt``. A chunk of displacements or
    velocities is laid out from the anchor, the set-point at the time of its observation: motion
    that was commanded while the chunk was computed is neither lost nor repeated. ``start`` and all
    times here are of the clock of motion, see ``History``.

    ``interpolation`` is ``linear``, straight lines from knot to knot, or ``cubic``, the natural
    cubic spline, whose acceleration has no step. Rows of ``continuous`` axes [M] are reached the
    shorter way round. Axes that turn are told as ``attitude`` sees them at the time of the call;
    ``turned`` is how the anchor is.
    """

    def __init__(
        self,
        chunk: ActionChunk,
        motion: np.ndarray,
        gripper: int | None,
        anchor: np.ndarray,
        start: float,
        interpolation: str = 'linear',
        continuous: np.ndarray | None = None,
        attitude: Attitude | None = None,
        turned: Quaternion = UNTURNED,
    ) -> None:
        self.attitude = attitude or Attitude()
        turning = self.attitude.axes
        steps = relative(chunk)[motion]  # [M]
        rows = chunk.actions[:, motion].astype(np.float64)
        if turning is not None:
            absolute = not steps[turning.start]
            orientations, turns = lay_out(chunk, self.attitude.columns, turned, not absolute)
            if chunk.frame == 'tool':
                rows = in_base(chunk, orientations).actions[:, motion]
            rows[:, turning] = turns
            if absolute:
                rows[:, turning] = anchor[turning] + np.cumsum(turns, axis=0)
        if chunk.control_mode == ControlMode.EE_TWIST:
            rows = chunk.dt * rows
        knots = knots_of(rows, steps, anchor, continuous)
        self.chunk = chunk
        self.anchor = anchor
        self.start = start
        self.knots = knots
        self.dt = chunk.dt
        self._count = len(rows)
        self._polynomials = _straight(knots)
        if interpolation == 'cubic':
            self._polynomials[:-1] = _spline(knots)
        self._turning = None
        if turning is not None:
            self._turning = TurningPath(orientations, self._polynomials[:, :, turning], chunk.dt)
        # What a polynomial in rows says in seconds.
        self._scale = np.array([[1.0], [1 / chunk.dt], [1 / chunk.dt**2]])
        self._efforts = None if gripper is None else np.clip(chunk.actions[:, gripper], -1, 1)

    @property
    def end(self) -> float:
        """Time at which the last row ends [s]."""
        return self.start + self._count * self.dt

    def row(self, time: float) -> float:
        """Return how many rows are over at ``time``, below zero before the first."""
        return (time - self.start) / self.dt

    def ended(self, time: float) -> bool:
        """Return whether no row is left at ``time``."""
        return self.row(time) + TIME_TOLERANCE >= self._count

    def at(self, time: float) -> np.ndarray:
        """Return the motion at ``time``: position, velocity and acceleration [3, M].

        Where the velocity has a step, it is the one that follows; the ends hold outside. At the
        very end it is still the last row's: the robot brakes from it, or a new chunk takes it over.
        """
        row = self.row(time)
        last = self._count - 1 if row < self._count + TIME_TOLERANCE else self._count
        index = min(max(int(row + TIME_TOLERANCE), 0), last)
        x = min(max(row - index, 0.0), 1.0) if index < self._count else 0.0
        basis = np.array(
            [[1.0, x, x * x, x * x * x], [0.0, 1.0, 2 * x, 3 * x * x], [0.0, 0.0, 2.0, 6 * x]]
        )
        motion: np.ndarray = basis @ self._polynomials[index] * self._scale
        if self._turning is not None:
            turned, rate, change = self._turning.at(index, x)
            motion[:, self.attitude.axes] = self.attitude.place(turned), rate, change
        return motion

    def speeds(self) -> np.ndarray:
        """Return the largest speed of each axis in each row, by the clock [H, M]."""
        _, slopes, bends, turns = self._polynomials[:-1].transpose(1, 0, 2)
        ends = [slopes, slopes + bends + 0.75 * turns, slopes + 2 * bends + 3 * turns]
        fastest: np.ndarray = np.abs(ends).max(axis=0) / self.dt
        return fastest

    def nearest(self, position: np.ndarray, time: float, seconds: float) -> float:
        """Return when the path is nearest to ``position`` [M], up to ``seconds`` after ``time``."""
        times = np.linspace(time, min(time + seconds, max(self.end, time)), NEAREST).tolist()
        off = [float(np.linalg.norm(self.at(moment)[0] - position)) for moment in times]
        closest = times[int(np.argmin(off))]
        place, velocity, _ = self.at(closest)
        square = float(velocity @ velocity)
        if square > 0:
            closest += float((position - place) @ velocity) / square
        return min(max(closest, times[0]), times[-1])

    def gripper(self, time: float) -> float | None:
        """Return the gripper effort of the row that ends at or after ``time``."""
        if self._efforts is None:
            return None
        index = math.ceil(self.row(time) - TIME_TOLERANCE) - 1
        return float(self._efforts[min(max(index, 0), self._count - 1)])


def knots_of(
    rows: np.ndarray, steps: np.ndarray, anchor: np.ndarray, continuous: np.ndarray | None = None
) -> np.ndarray:
    """Return what ``rows`` [H, M] reach, one after the other, and where they begin [H + 1, M].

    Axes that are ``steps`` [M] are displacements from ``anchor`` [M]; others are places, those of
    ``continuous`` axes [M] the shorter way round.
    """
    if continuous is not None and not steps.all():
        rows = np.where(steps, rows, unwrapped(rows, anchor, continuous))
    knots = np.concatenate([np.zeros((1, rows.shape[1])), rows])
    # Where absolute rows themselves come from: the robot may be off their line, and the way to
    # it is the seam's, which blending fades. A jump inside the first row would hide it.
    knots[0] = np.where(steps, 0.0, 2 * knots[1] - knots[2] if len(rows) > 1 else anchor)
    knots[:, steps] = np.cumsum(knots[:, steps], axis=0) + anchor[steps]
    return knots


def _straight(knots: np.ndarray) -> np.ndarray:
    """Return the polynomials of lines between ``knots`` [H + 1, M] and a hold: [H + 1, 4, M]."""
    polynomials = np.zeros((len(knots), 4, knots.shape[1]))
    polynomials[:, 0] = knots
    polynomials[:-1, 1] = np.diff(knots, axis=0)
    return polynomials


def _spline(knots: np.ndarray) -> np.ndarray:
    """Return the polynomials of the natural cubic spline through ``knots`` [K + 1, M]: [K, 4, M].

    Its second derivatives m, in rows, satisfy m[k-1] + 4 m[k] + m[k+1] = 6 (y[k-1] - 2 y[k] +
    y[k+1]) and are zero at both ends.
    """
    bends = np.zeros_like(knots)
    if len(knots) > 2:
        bends[1:-1] = _solve(6 * np.diff(knots, 2, axis=0))
    before, after = bends[:-1], bends[1:]
    slopes = np.diff(knots, axis=0) - (2 * before + after) / 6
    return np.stack([knots[:-1], slopes, before / 2, (after - before) / 6], axis=1)


def _solve(right: np.ndarray) -> np.ndarray:
    """Return m [K, M] with m[k-1] + 4 m[k] + m[k+1] = ``right`` [K, M] and nothing outside.

    Thomas's elimination; both of its recursions are ``_recur``.
    """
    factors = np.empty(len(right))
    factor = 0.0
    for index in range(len(factors)):
        factors[index] = factor = 1 / (4 - factor)
    forward = _recur(factors[:, None] * right, -factors)
    return _recur(forward[::-1], -factors[::-1])[::-1]


def _recur(values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return y with y[k] = ``values``[k] + ``factors``[k] * y[k-1], [K, M].

    By doubling: what came before the last 64 rows has faded to 0.27 ** 64 of itself.
    """
    total, product = values, factors[:, None]
    reach = 1
    while reach < min(len(values), 64):
        total = np.concatenate([total[:reach], total[reach:] + product[reach:] * total[:-reach]])
        product = np.concatenate([product[:reach], product[reach:] * product[:-reach]])
        reach *= 2
    return total
