# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A flow policy that says recorded chunks, so that guidance has something to guide.

It starts from the mean of the noise: without guidance the result is the recorded chunk.
``lerobot_script.py`` has the same stand-in for LeRobot, and the velocity field of both.
"""

import math
from collections import deque
from functools import partial

import numpy as np
import torch

from benchmarks.motion.lerobot_script import NormalField
from benchmarks.motion.playback import RecordedChunks
from benchmarks.motion.recording import RecordedMotion
from efficient_vla.action.guidance import Guidance, guided_velocity, soft_mask
from efficient_vla.types import Execution

STEPS = 10
MAX_WEIGHT = 5.0
SCHEDULE = 'exponential'
"""Steps and guidance of the RTC paper (arXiv 2506.07339, table of hyperparameters)."""
DELAYS = 10
"""The largest of so many measured delays is assumed for the next chunk."""


class GuidedPolicy(RecordedChunks):
    """Recorded chunks, drawn to what is being executed (RTC, with the true Jacobian)."""

    def __init__(self, recording: RecordedMotion) -> None:
        super().__init__(recording)
        self._field = NormalField(torch.from_numpy(recording.chunks).float())
        self._delays: deque[int] = deque(maxlen=DELAYS)
        self._last: tuple[int, torch.Tensor] | None = None
        self._dt = recording.dt
        self._execution: Execution | None = None

    def note_execution(self, execution: Execution | None) -> None:
        """Take in, at the time of a frame, how its newest chunk is executed."""
        self._execution = execution
        if execution is not None and math.isfinite(execution.delay):
            self._delays.append(max(0, math.ceil(execution.delay - 1e-3)))

    def chunk(self, step: int) -> np.ndarray:
        """Return the chunk of ``step``, float64 [H, A]."""
        said = self._field.chunks[step]
        found = said
        if self._last is not None:
            begun, before = self._last
            left = before[self._passed(step, begun) :]
            found = self._guided(said, left) if len(left) else said
        self._last = step, found
        rows: np.ndarray = (found * self._field.std + self._field.mean).double().numpy()
        return rows

    def _passed(self, step: int, begun: int) -> int:
        """Return the rows that are over of the chunk of step ``begun``."""
        execution = self._execution
        if execution is None or round(execution.stamp / self._dt) != begun:
            return step - begun
        return round(execution.row_at(step * self._dt, self._dt))

    def _guided(self, said: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
        target = torch.zeros_like(said)
        target[: len(left)] = left
        weights = soft_mask(len(said), max(self._delays, default=0), len(left), SCHEDULE)
        guidance = Guidance(target[None], weights, MAX_WEIGHT)
        x = torch.zeros_like(said)[None]
        for step in range(STEPS):
            time = step / STEPS
            x = x + guided_velocity(partial(self._velocity, said, time), x, time, guidance) / STEPS
        return x[0].detach()

    def _velocity(self, said: torch.Tensor, time: float, x: torch.Tensor) -> torch.Tensor:
        """Return the velocity where time 0 is noise and 1 is the chunk."""
        return -self._field.velocity(said, 1 - time, x)
