# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The set-points that were commanded lately."""

from bisect import bisect_left

import numpy as np


class History:
    """Set-points and idle time over the last ``keep`` seconds.

    Idle time counts the seconds in which no chunk moved the robot. A chunk's clock stands still
    meanwhile, so that a robot that waited for its first chunk starts at the chunk's first row
    instead of leaping to where the chunk would be by now.
    """

    def __init__(self, keep: float, position: np.ndarray, time: float) -> None:
        self.keep = keep
        self.since = time
        self._times = [time]
        self._positions = [position]
        self._idle = [0.0]

    @property
    def time(self) -> float:
        """Time of the newest set-point [s]."""
        return self._times[-1]

    def append(self, position: np.ndarray, time: float, idle: bool) -> None:
        """Remember a set-point; ``idle`` says whether the time up to it moved no chunk."""
        self._idle.append(self.idle(time, idle))
        self._times.append(time)
        self._positions.append(position)
        expired = bisect_left(self._times, time - self.keep) - 1
        if expired > 0:
            del self._times[:expired], self._positions[:expired], self._idle[:expired]

    def position(self, time: float) -> np.ndarray:
        """Return the set-point at ``time`` [M], between its neighbours; the ends hold outside."""
        after, weight = self._locate(time)
        if weight == 0.0:
            return self._positions[after]
        before = self._positions[after - 1]
        return before + (1 - weight) * (self._positions[after] - before)

    def idle(self, time: float, now_idle: bool) -> float:
        """Return the idle seconds until ``time``; ``now_idle`` rules after the newest set-point."""
        if time >= self.time:
            return self._idle[-1] + (time - self.time if now_idle else 0.0)
        after, weight = self._locate(time)
        if weight == 0.0:
            return self._idle[after]
        return self._idle[after] - weight * (self._idle[after] - self._idle[after - 1])

    def _locate(self, time: float) -> tuple[int, float]:
        """Return the entry at or after ``time`` and the weight of the entry before it."""
        after = bisect_left(self._times, time)
        if after == 0:
            return 0, 0.0
        if after == len(self._times):
            return after - 1, 0.0
        begin, end = self._times[after - 1], self._times[after]
        return after, (end - time) / (end - begin)
