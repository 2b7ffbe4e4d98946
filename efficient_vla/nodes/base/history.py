# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Recent robot states, and pacing by capture times."""

import threading
from bisect import bisect_right
from collections import deque

import numpy as np

KEEP_S = 2.0
"""States are remembered for so long where nothing asks for longer."""
MOST = 10_000
"""However fast they come, no more states are remembered."""
EARLY = 0.25
"""Fraction of a period by which an input may come early: camera and rate are never in step."""


def set_back(stamp: float, newest: float, by: float = KEEP_S) -> bool:
    """Return whether ``stamp`` [s] is so long before ``newest`` that its clock was set back.

    A message that is less late was only overtaken on its way.
    """
    return newest - stamp > by


def overtaken(stamp: float, newest: float) -> bool:
    """Return whether something newer than ``stamp`` [s] came before it on the same clock."""
    return stamp < newest and not set_back(stamp, newest)


class StateHistory:
    """States in the order of their stamps, for the one nearest to an image; for any thread."""

    def __init__(self, keep: float = KEEP_S) -> None:
        self.keep = keep
        """States older than this are forgotten [s]."""
        self._items: deque[tuple[float, np.ndarray]] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, stamp: float, values: np.ndarray) -> None:
        """Remember a state; one from before all that is kept means that its clock was set back."""
        with self._lock:
            items = self._items
            if items and set_back(stamp, items[-1][0], self.keep):
                items.clear()
            items.insert(bisect_right(items, stamp, key=lambda item: item[0]), (stamp, values))
            while items[0][0] < items[-1][0] - self.keep or len(items) > MOST:
                items.popleft()

    def nearest(self, stamp: float) -> tuple[np.ndarray, float] | None:
        """Return the state nearest to ``stamp`` and how far from it [s], or ``None``."""
        with self._lock:
            if not self._items:
                return None
            found, values = min(self._items, key=lambda item: abs(item[0] - stamp))
        return values, abs(found - stamp)

    def take(self) -> list[tuple[float, np.ndarray]]:
        """Return all in their order, and forget them."""
        with self._lock:
            taken = list(self._items)
            self._items.clear()
        return taken

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
        if set_back(stamp, self._due - period, max(KEEP_S, period)):
            self.reset()
        if stamp + EARLY * period < self._due:
            return False
        late = stamp - self._due
        self._due = stamp + period if late >= period else self._due + period
        return True

    def reset(self) -> None:
        """Let the next input through."""
        self._due = float('-inf')
