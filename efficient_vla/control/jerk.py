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
        self._differences: list[np.ndarray] = []

    def add(self, position: np.ndarray, time: float) -> None:
        """Measure up to the set-point ``position`` [M] at ``time``, which is later than all."""
        # Divided differences (Newton): they hold for uneven ticks, too.
        differences = [position]
        for before, earlier in zip(self._differences, self._times, strict=True):
            differences.append((differences[-1] - before) / (time - earlier))
        if len(differences) == 4:
            jerk = 6 * differences.pop()
            self.largest = max(self.largest, *map(abs, jerk.tolist()))
        self._differences = differences
        self._times = (time, *self._times[:2])
