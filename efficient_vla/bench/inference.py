# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference that takes time, in a simulation whose clock stands still while it computes."""

import numpy as np

from efficient_vla.bench.overrides import EvaluationSettings
from efficient_vla.types import ActionChunk

TOLERANCE = 1e-9
"""Times of a simulation are multiples of its period up to rounding [s]."""


class StepTimer:
    """Says whether a step is due: ``period`` seconds after the last start, in steps of ``dt``."""

    def __init__(self, period: float, dt: float) -> None:
        self.steps = max(1, round(period / dt))
        self._last: int | None = None

    def due(self, step: int) -> bool:
        """Return whether there may be a start at this step."""
        return self._last is None or step - self._last >= self.steps

    def started(self, step: int) -> None:
        """Note a start at this step."""
        self._last = step


class Inference:
    """Chunks on their way from the frame that they were computed from to the controller.

    Delays and losses are drawn from ``seed`` in the order of the chunks, so that two runs with the
    same requests have the same accidents.
    """

    def __init__(self, settings: EvaluationSettings, seed: int) -> None:
        self._settings = settings
        self._random = np.random.default_rng(seed)
        self._under_way: list[tuple[float, bool, ActionChunk]] = []

    @property
    def free(self) -> bool:
        """Whether another chunk may be computed."""
        return len(self._under_way) < self._settings.in_flight

    def start(self, chunk: ActionChunk) -> None:
        """Take in a chunk that was computed from the frame at its stamp."""
        late, lost = self._random.uniform(size=2)
        arrival = chunk.stamp + self._settings.delay + late * self._settings.jitter
        self._under_way.append((arrival, lost < self._settings.drop, chunk))

    def arrived(self, now: float) -> list[ActionChunk]:
        """Return the chunks that arrived by ``now``, in that order."""
        due = [item for item in self._under_way if item[0] <= now + TOLERANCE]
        self._under_way = [item for item in self._under_way if item[0] > now + TOLERANCE]
        due.sort(key=lambda item: item[0])
        return [chunk for _, lost, chunk in due if not lost]
