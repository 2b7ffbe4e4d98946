# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Execute a chunk slower where it would run out before the next one comes.

A robot whose chunks come later than they last stops and starts at every one of them. Executed more
slowly, the same rows last until the next chunk is there: the robot gets as far in the same time,
without the stops. Speed scaling is what robot drivers do to a whole trajectory; here the speed is
chosen anew for every chunk and changes smoothly, so that no seam arises from it.

A model that is asked for one chunk at a time sees rows executed while it computes: the more of a
chunk is executed, the less is left of the next. Down the speed goes as far as the chunk asks, up
only half way, which is where the two settle; all the way up would swing between fast and slow.
"""

from collections import deque

INTERVALS = 2
"""The shortest of so many intervals between chunks is expected for the next one: a model that
warmed up and a chunk that was lost are no reason to be slow."""
MARGIN = 1.05
"""A chunk is to last this many times as long as the next one is expected to take."""
TOLERANCE = 1e-3
"""A chunk that ends this much before the next one comes is not slowed [s]."""
OVERDUE = 1.5
"""One that takes so many times as long as the longest of those intervals may not come at all."""
UNKNOWN = 1.0
"""The chunk after the first one may take so long [s]."""
RATE = 30.0
"""Natural frequency at which the speed follows its target, critically damped [rad/s]."""
LONGEST_STEP = 0.5 / RATE
"""A late tick changes the speed as one of this length [s], which keeps the change stable."""
LAG = 2 / RATE
"""Time by which the speed follows its target late [s]: the rows of it pass at the old speed."""
SLOWEST = 0.01
"""The clock runs at least at this speed, so that what is left of a chunk takes a time."""
LONGEST_LAG = 1 / 6
"""Share of the expected time that is counted as lag at most, lest the speed swings."""


class TimeScaling:
    """The speed of the clock of motion: 1 executes a chunk as it is."""

    def __init__(self, low: float) -> None:
        """Go no slower than at speed ``low``."""
        self._low = low
        self._most = 1.0
        self.restart()

    def configure(self, low: float) -> None:
        """Change the lowest speed from the next chunk on."""
        self._low = low

    def limit(self, most: float) -> None:
        """Go no faster than at speed ``most``, whatever chunks ask for: the robot is slowed."""
        self._most = max(most, SLOWEST)

    def restart(self) -> None:
        """Forget when chunks came."""
        self._intervals: deque[float] = deque(maxlen=INTERVALS)
        self._arrived: float | None = None
        self._target = 1.0
        self.spare = 0.0
        self.settle()

    def settle(self) -> None:
        """Take the target at once: no chunk moves the robot yet."""
        self.speed, self.slope = min(self._target, self._most), 0.0

    def arrived(self, lasts: float, left: float, now: float, age: float, until: float) -> None:
        """Choose the speed of a chunk that came ``now`` with ``left`` [s] of its rows to execute.

        All of them last ``lasts`` [s]. ``age`` [s] of its observation is what a chunk takes. Where
        the interval is longer, nobody was computing: who asks for a chunk only when the last one
        ends would wait the longer the slower that one is. What is not executed ``until`` [s] is
        lost.
        """
        if self._arrived is None:
            self._arrived = now
            self.spare = max(lasts - age - UNKNOWN, 0.0)
            return
        self._intervals.append(now - self._arrived)
        self._arrived = now
        # Rows that are executed faster are missing when the next chunk is that old.
        self.spare = max(lasts - age - max(*self._intervals, age), 0.0)
        expected = max(min(*self._intervals, age, until - now), TOLERANCE)
        if left > expected - TOLERANCE:
            speed = left / expected
        else:
            lag = min(LAG, LONGEST_LAG * expected)
            speed = (left - lag * self.speed) / (MARGIN * expected - lag)
        self._target = min(max(min(speed, (self._target + speed) / 2), self._low), 1.0)

    def overdue(self, now: float) -> bool:
        """Return whether the next chunk should have come by ``now`` [s]."""
        if self._arrived is None or not self._intervals:
            return False
        return now - self._arrived > OVERDUE * max(self._intervals)

    def advance(self, period: float) -> None:
        """Let the speed follow its target for ``period`` [s]."""
        step = min(period, LONGEST_STEP)
        target = min(self._target, self._most)
        self.slope += step * RATE * (RATE * (target - self.speed) - 2 * self.slope)
        self.speed += step * self.slope
        if self.speed < SLOWEST:
            self.speed, self.slope = SLOWEST, max(self.slope, 0.0)
