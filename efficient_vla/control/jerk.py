# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Jerk of the set-points that were really sent."""

import numpy as np


class JerkMeter:
    """Largest third difference of four consecutive set-points, over all axes."""

    def __init__(self) -> None:
        self.largest = 0.0
        self.restart()

    def restart(self) -> None:
        """Forget the last set-points: the next one does not continue them."""
        self._times: tuple[float, ...] = ()
        self._differences: list[list[float]] = []

    def add(self, position: np.ndarray, time: float) -> None:
        """Measure up to the set-point ``position`` [M] at ``time``, which is later than all."""
        # Divided differences (Newton): they hold for uneven ticks, too.
        newest = position.tolist()
        differences = [newest]
        for before, earlier in zip(self._differences, self._times, strict=True):
            span = time - earlier
            newest = [(new - old) / span for new, old in zip(newest, before, strict=True)]
            differences.append(newest)
        if len(differences) == 4:
            del differences[3]
            self.largest = max(self.largest, 6 * max(newest), -6 * min(newest))
        self._differences = differences
        self._times = (time, *self._times[:2])
