# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Recent robot states, and pacing by capture times."""

from collections import deque

import numpy as np

KEEP_S = 2.0
"""States are remembered for so long where nothing asks for longer."""
EARLY = 0.25
"""Fraction of a period by which an input may come early: camera and rate are never in step."""


class StateHistory:
    """States by time, for the one nearest to an image."""

    def __init__(self, keep: float = KEEP_S) -> None:
        self.keep = keep
        """States older than this are forgotten [s]."""
        self._items: deque[tuple[float, np.ndarray]] = deque()

    def add(self, stamp: float, values: np.ndarray) -> None:
        """Remember a state; one from before the newest means that the clock or robot restarted."""
        if self._items and stamp < self._items[-1][0]:
            self._items.clear()
        self._items.append((stamp, values))
        while self._items[0][0] < stamp - self.keep:
            self._items.popleft()

    def nearest(self, stamp: float) -> tuple[np.ndarray, float] | None:
        """Return the state nearest to ``stamp`` and how far from it [s], or ``None``."""
        if not self._items:
            return None
        found, values = min(self._items, key=lambda item: abs(item[0] - stamp))
        return values, abs(found - stamp)

    def clear(self) -> None:
        """Forget all."""
        self._items.clear()


class Pace:
    """Let inputs through at no more than a rate, by their capture times.

    Not by the time of arrival, so that a simulation gives the same whatever the machine's speed.
    """

    def __init__(self) -> None:
        self._due = float('-inf')

    def due(self, stamp: float, rate: float) -> bool:
        """Return whether the input captured at ``stamp`` [s] is to be used at ``rate`` [Hz]."""
        period = 1 / rate
        if self._due - stamp > 2 * period:
            # The clock of the capture times was set back.
            self.reset()
        if stamp + EARLY * period < self._due:
            return False
        late = stamp - self._due
        self._due = stamp + period if late >= period else self._due + period
        return True

    def reset(self) -> None:
        """Let the next input through."""
        self._due = float('-inf')
