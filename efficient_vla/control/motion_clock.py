# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The time by which the robot moves, and how stamps of another clock are read in it.

Motion runs on the steady clock. The clock that stamps messages may be set or slewed at any time,
so it serves for stamps alone: its offset is measured with every use. A stamp that was made before
the clock was set is read by the offset that held then.
"""

import time
from collections import deque
from collections.abc import Callable

from efficient_vla.types import Stamp, to_nanoseconds

SET_S = 0.001
"""A change of the offset by more than this between two uses is a clock that was set."""
REMEMBERED = 32
"""Settings of the clock that are remembered."""


class MotionClock:
    """Seconds of the steady clock and of the clock that stamps, and the way between them."""

    def __init__(
        self,
        stamping: Callable[[], float],
        simulated: Callable[[], bool] = lambda: False,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``stamping`` returns the time of the clock that stamps [s].

        While ``simulated`` says so, that clock is also the one by which the robot moves: it is
        the simulator's.
        """
        self._stamping = stamping
        self._simulated = simulated
        self._steady = steady
        self.times_set = 0
        self._offsets: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)

    def now(self) -> float:
        """Return the time of motion [s]; measures the offset."""
        if self._simulated():
            self._offsets.clear()
            return self._stamping()
        before = self._steady()
        stamping = self._stamping()
        now = self._steady()
        # The process may have waited between the readings: the offset is somewhere in between, and
        # one that is possible still holds. So stamps are as far apart as the set-points are.
        lowest, highest = stamping - now, stamping - before
        if not self._offsets:
            self._offsets.append((float('-inf'), (lowest + highest) / 2))
        since, last = self._offsets[-1]
        offset = min(max(last, lowest), highest)
        if abs(offset - last) > SET_S:
            self.times_set += 1
            self._offsets.append((now, offset))
        else:
            self._offsets[-1] = (since, offset)
        return now

    def stamp(self, moment: float) -> Stamp:
        """Return what the stamping clock shows at the time of motion ``moment`` [s].

        Whoever divides ways by stamps needs nanoseconds: a float64 of today is 240 ns coarse.
        """
        offset = self._offsets[-1][1] if self._offsets else 0.0
        return Stamp(to_nanoseconds(moment) + to_nanoseconds(offset))

    def read(self, stamp: float, now: float) -> float:
        """Return the time of motion [s] at which ``stamp`` was made; ``now`` is the present."""
        if not self._offsets:
            return stamp
        until = now
        for since, offset in reversed(self._offsets):
            if since - SET_S <= stamp - offset <= until + SET_S:
                return stamp - offset
            until = since
        return stamp - self._offsets[-1][1]
