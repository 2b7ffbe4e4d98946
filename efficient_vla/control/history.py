# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The set-points that were commanded lately."""

from bisect import bisect_left

import numpy as np

from efficient_vla.control.rotations import UNTURNED, Quaternion, between, exp, product


class History:
    """Set-points and the clock of motion over the last ``keep`` seconds.

    The clock of motion, by which chunks are executed, runs at their speed and stands still while
    none moves the robot: one that waited for its first chunk starts at the chunk's first row
    instead of leaping to where the chunk would be by now.
    """

    def __init__(
        self, keep: float, position: np.ndarray, time: float, turned: Quaternion = UNTURNED
    ) -> None:
        self.keep = keep
        self.since = time
        self._times = [time]
        self._positions = [position]
        self._turned = [turned]
        self._lost = [0.0]  # seconds by which the clock is behind

    @property
    def time(self) -> float:
        """Time of the newest set-point [s]."""
        return self._times[-1]

    def append(
        self, position: np.ndarray, time: float, speed: float, turned: Quaternion = UNTURNED
    ) -> None:
        """Remember a set-point and how it is ``turned``.

        ``speed`` of the clock led up to it, 0 where no chunk moved it.
        """
        self._lost.append(self._lost[-1] + (1 - speed) * (time - self.time))
        self._times.append(time)
        self._positions.append(position)
        self._turned.append(turned)
        expired = bisect_left(self._times, time - self.keep) - 1
        if expired > 0:
            for kept in (self._times, self._positions, self._turned, self._lost):
                del kept[:expired]

    def skip(self, seconds: float) -> None:
        """Let the clock go on at the newest set-point by ``seconds`` that no set-point took."""
        self._lost[-1] -= seconds

    def position(self, time: float) -> np.ndarray:
        """Return the set-point at ``time`` [M], between its neighbours; the ends hold outside."""
        after, weight = self._locate(time)
        if weight == 0.0:
            return self._positions[after]
        before = self._positions[after - 1]
        return before + (1 - weight) * (self._positions[after] - before)

    def turned(self, time: float) -> Quaternion:
        """Return how the set-point was turned at ``time``, between its neighbours."""
        after, weight = self._locate(time)
        if weight == 0.0:
            return self._turned[after]
        before = self._turned[after - 1]
        x, y, z = between(before, self._turned[after])
        share = 1 - weight
        return product(before, exp((share * x, share * y, share * z)))

    def positions(self, begin: float, end: float) -> np.ndarray:
        """Return the set-points from the one that ruled at ``begin`` to the next at ``end``."""
        first = max(bisect_left(self._times, begin) - 1, 0)
        return np.array(self._positions[first : bisect_left(self._times, end) + 1])

    def clock(self, time: float, speed: float) -> float:
        """Return the clock of motion at ``time`` [s]; ``speed`` rules from the last set-point."""
        if time >= self.time:
            return time - (self._lost[-1] + (1 - speed) * (time - self.time))
        after, weight = self._locate(time)
        if weight == 0.0:
            return time - self._lost[after]
        return time - (self._lost[after] - weight * (self._lost[after] - self._lost[after - 1]))

    def _locate(self, time: float) -> tuple[int, float]:
        """Return the entry at or after ``time`` and the weight of the entry before it."""
        after = bisect_left(self._times, time)
        if after == 0:
            return 0, 0.0
        if after == len(self._times):
            return after - 1, 0.0
        begin, end = self._times[after - 1], self._times[after]
        return after, (end - time) / (end - begin)
