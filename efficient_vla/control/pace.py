# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How fast the robot goes along its path, so that every axis keeps its limits on it.

Where one axis would be too fast, cutting it alone would bend the path. So the clock of motion, by
which chunks are executed, runs slower, and all axes with it. From standing still the clock runs up
within the acceleration and the jerk of the axes along the path, slows down in time before rows that
ask for more than the limits, and makes up afterwards for a little of the time that it lost.

What rows ask for is judged over the time in which an axis can change its acceleration from one
limit to the other: within that, a jerk limit is kept with the acceleration limit, and the trembling
of a learned policy from row to row is no reason to be slow; the limits of the axes smooth it.
"""

import math
from collections.abc import Sequence

import numpy as np

from efficient_vla.control.braking import AxisState, brake
from efficient_vla.control.chasing import HEADROOM, AxisLimits, Chase, Chaser, can_meet
from efficient_vla.control.norms import VelocityNorm
from efficient_vla.control.trajectory import Trajectory

JERK_SHARE = 0.49
"""Share of the jerk for the pace: what changes jerk between two ticks can be passed through with
three equal segments of up to 2.007 times of it, see ``can_meet``."""
CATCH_UP = 1.25
"""The clock runs at most so fast while it makes up for lost time."""
LONGEST_DEBT = 0.1
"""Lost time is made up for up to this [s]; more is given up."""
RUN_UP = 0.05
"""An acceleration of the clock has to suit the rows of so much time ahead [s]."""
LEAST_SPARE = 0.25
"""Share of the acceleration limit that is left at least to change the pace in a bend."""
FASTEST = 20.0
"""No limit of the clock is told above this; a ramp after enabling takes a tenth of it."""
STILL = 1e-9
"""Slower than this an axis stands [m/s or rad/s]."""


class PathLimits:
    """What the limits of the axes are for the clock, row by row of a trajectory."""

    def __init__(
        self, trajectory: Trajectory, limits: list[AxisLimits], norms: Sequence[VelocityNorm] = ()
    ) -> None:
        self._trajectory = trajectory
        dt = trajectory.dt
        velocity, acceleration, jerk = np.array(limits)[:, :3].T  # [M]
        speeds = np.maximum(trajectory.speeds(), STILL)  # [H, M]
        ramps = acceleration / jerk
        turning = trajectory.attitude.axes
        if turning is not None and speeds[:, turning].max() <= STILL:
            ramps[turning] = 0.0  # A rotation that stands takes no part.
        window = math.ceil(min(2 * ramps.max() / dt, len(speeds)))
        bends = _bends(trajectory.knots, max(window, 1)) / dt**2  # [H, M]
        fastest = np.minimum(velocity / speeds, np.sqrt(acceleration / np.maximum(bends, STILL)))
        fastest = np.minimum(fastest.min(axis=1), FASTEST)  # [H]
        for norm in norms:
            together = np.linalg.norm(speeds[:, list(norm.axes)], axis=1)
            fastest = np.minimum(fastest, (1 - HEADROOM) * norm.velocity / together)
        ahead = _highest_ahead(speeds, math.ceil(RUN_UP / dt))
        used = bends * np.minimum(fastest, 1)[:, None] ** 2 / acceleration
        spare = acceleration * np.maximum(1 - used, LEAST_SPARE)
        slopes = (spare / ahead).min(axis=1)
        squares = _reachable(fastest**2, np.minimum(2 * slopes * dt, FASTEST**2))
        self._rows = np.column_stack(
            [fastest, np.append(squares[1:], math.inf), slopes]
            + [JERK_SHARE * (jerk / ahead).min(axis=1)]
        ).tolist()

    def at(self, clock: float, speed: float) -> tuple[float, float, float]:
        """Return the fastest the clock may run, change its speed, and change that, at ``clock``.

        The clock, at ``speed``, takes a moment until it slows down; by then it is further on.
        """
        row = min(max(self._trajectory.row(clock), 0.0), len(self._rows) - 1e-6)
        _, _, slope, change = self._rows[int(row)]
        fastest = self._fastest(row)
        later = row + speed * slope / change / self._trajectory.dt
        if later < len(self._rows):
            fastest = min(fastest, self._fastest(later))
        return fastest, slope, change

    def _fastest(self, row: float) -> float:
        index = int(row)
        fastest, square_after, slope, _ = self._rows[index]
        left = (index + 1 - row) * self._trajectory.dt
        return min(fastest, math.sqrt(square_after + 2 * slope * left))


class PathPace:
    """The speed of the clock of motion and the time that it owes."""

    def __init__(self) -> None:
        self._chaser = Chaser(1)
        self.stand()

    def stand(self) -> None:
        """Stop the clock."""
        self.speed = self.slope = self.expected = 0.0
        self._owed = self._waits = 0.0
        self._ends = False

    @property
    def ended(self) -> bool:
        """Whether the clock came to stand where it was to."""
        return self._ends and self.speed == 0 == self.slope

    def begin(self, motion: np.ndarray, path: np.ndarray, wanted: float, waits: float) -> None:
        """Begin with a path whose motion by the clock is ``path`` [3, M].

        The set-point's ``motion`` [3, M] goes on as far as it goes the same way. ``wanted`` is the
        speed that the clock is to run up to, after it has waited for ``waits`` [s].
        """
        along = path[1]
        length = float(along @ along)
        self.stand()
        self._waits = waits
        self.expected = self.speed = wanted
        if length > STILL**2:
            self.speed = float(motion[1] @ along) / length
            self.slope = float(motion[2] @ along) / length
            if not 0 < self.speed < wanted:
                self.speed, self.slope = min(max(self.speed, 0.0), wanted), 0.0

    def advance(
        self,
        period: float,
        wanted: tuple[float, float],
        limits: tuple[float, float, float],
        spare: float,
        room: float = math.inf,
    ) -> float:
        """Return by how much the clock goes on in ``period`` [s].

        ``wanted`` is the speed to run at and how it changes; ``limits`` are those of speed, slope
        and its change. Up to ``spare`` [s] of lost time are made up for. The clock comes to stand
        within ``room`` [s], or as soon as the limits let it.
        """
        period, self._waits = period - self._waits, 0.0
        if period <= 0:
            return 0.0
        speed, slope = wanted
        fastest, steepest, change = limits
        fastest = min(fastest, CATCH_UP)
        self.expected = min(speed, fastest)
        if abs(slope) > steepest or speed > fastest:
            slope = 0.0
        way = (speed - slope * period / 2) * period
        state = AxisState(0.0, self.speed, self.slope)
        steady = self._owed == 0 and (self.speed, self.slope, slope) == (speed, 0.0, 0.0)
        if steady and math.isinf(room):
            return way
        axis = AxisLimits(fastest, steepest, change, steepest, -math.inf, math.inf)
        target = AxisState(self._owed + way, speed, slope)
        moved = target
        if not can_meet(state, axis, target, period):
            (moved,) = self._chaser.follow([Chase(state, target, axis)], period)
        if moved.velocity < 0 or moved.position < 0:
            moved = AxisState(max(moved.position, 0.0), max(moved.velocity, 0.0), 0.0)
        # Once it brakes it goes on braking: the limits of rows to come may allow to stand later.
        self._ends = room < math.inf and (
            self._ends or brake(moved, steepest, change, math.inf).position > room
        )
        if self._ends:
            moved = brake(state, steepest, change, period)
        owed = self._owed + way - moved.position
        self._owed = max(min(owed, spare, LONGEST_DEBT), -LONGEST_DEBT)
        self.speed, self.slope = moved.velocity, moved.acceleration
        return moved.position


def _bends(knots: np.ndarray, window: int) -> np.ndarray:
    """Return the largest second difference over ``window`` rows about each row, by row^2 [H, M].

    Outside of ``knots`` [H + 1, M] the path goes straight on: a start from rest is no bend.
    """
    steps = np.arange(window, 0, -1)[:, None]
    before = knots[0] - steps * (knots[1] - knots[0])
    after = knots[-1] + steps[::-1] * (knots[-1] - knots[-2])
    padded = np.concatenate([before, knots, after])
    second = padded[2 * window :] - 2 * padded[window:-window] + padded[: -2 * window]
    second = np.abs(second) / window**2
    highest: np.ndarray = np.maximum(second[:-1], second[1:])
    return highest


def _highest_ahead(values: np.ndarray, rows: int) -> np.ndarray:
    """Return the highest of each row of ``values`` [H, M] and as many ``rows`` after it."""
    highest = values.copy()
    for shift in range(1, min(rows, len(values) - 1) + 1):
        np.maximum(highest[:-shift], values[shift:], out=highest[:-shift])
    return highest


def _reachable(squares: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return the highest squares of the speed at the begin of each row, [H] both.

    A row takes at most its ``losses`` off, and no later one may be above its own of ``squares``.
    """
    left = np.append(np.cumsum(losses[::-1])[::-1], 0.0)  # from here to the end
    lowest = np.minimum.accumulate((squares - left[:-1])[::-1])[::-1]
    reachable: np.ndarray = lowest + left[:-1]
    return reachable
