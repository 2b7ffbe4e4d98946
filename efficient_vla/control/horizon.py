# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How long of a chunk may be executed before it runs out.

Chunks that were computed from successive observations speak about the same future. Where they
contradict each other, the late rows of a chunk are guesses, and a robot that waits for the next
chunk is better off standing than following them.
"""

from itertools import pairwise

import numpy as np

from efficient_vla.control.settings import HorizonSettings
from efficient_vla.control.trajectory import Trajectory

SHRINK, GROW = 0.7, 1.1
SAMPLES = 5
"""Times at which two chunks are compared."""
STANDSTILL = 1e-3
"""Chunks that move less than this far from each other agree [m]."""


class Horizon:
    """The execution horizon and what made it so long."""

    def __init__(self, settings: HorizonSettings) -> None:
        self._settings = settings
        self._seconds = settings.high

    def configure(self, settings: HorizonSettings) -> None:
        """Apply other settings; how well chunks agreed so far is not forgotten."""
        self._settings = settings
        self._seconds = min(max(self._seconds, settings.low), settings.high)

    def restart(self) -> None:
        """Forget how well chunks agreed."""
        self._seconds = self._settings.high

    def compare(self, newest: Trajectory, before: Trajectory, now: float) -> None:
        """Learn from how far ``newest`` is from the chunk ``before`` over what is left of both."""
        left = min(newest.end, before.end) - now
        if self._settings.method == 'none' or left <= 0:
            return
        times = [now + left * index / (SAMPLES - 1) for index in range(SAMPLES)]
        path, other = ([chunk.at(time) for time in times] for chunk in (newest, before))
        differ = newest.attitude.apart
        off = [differ(here, there)[0] for here, there in zip(path, other, strict=True)]
        went = [differ(after, here)[0] for here, after in pairwise(path)]
        apart = float(np.linalg.norm(off, axis=1).mean())
        way = float(np.linalg.norm(went, axis=1).sum())
        ratio = apart / (way + STANDSTILL)
        # Between the two thresholds it stays: chunks that are just so far apart cause no swinging.
        if ratio > self._settings.disagreement:
            self._seconds = max(
                SHRINK * min(self._seconds, newest.end - newest.start), self._settings.low
            )
        elif ratio < self._settings.disagreement / 2:
            self._seconds = min(GROW * self._seconds, self._settings.high)

    def end(self, trajectory: Trajectory, delay: float) -> tuple[float, str]:
        """Return when ``trajectory`` runs out [s] and why.

        Inference beside the motion brings the next chunk two ``delay`` [s] after an observation at
        the earliest; no horizon is shorter than that.
        """
        sequence = trajectory.chunk.sequence
        if self._settings.method == 'none':
            return trajectory.end, f'chunk {sequence} ran out'
        seconds = max(self._seconds, 2 * delay)
        return min(
            (trajectory.end, f'chunk {sequence} ran out'),
            (
                trajectory.start + seconds,
                f'chunk {sequence} reached its execution horizon of {seconds:.3f} s',
            ),
        )
