# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A flow policy that says recorded chunks, so that guidance has something to guide.

Its velocity field is the exact one of a normal distribution around each recorded chunk (time 0:
noise, 1: actions), in units of the recording's own spread. Errors of rows that are close in time go
together, as those of a policy do. It starts from the mean of the noise: without guidance the
result is the recorded chunk. ``lerobot_script.py`` has the same stand-in in LeRobot's conventions.
"""

import math
from collections import deque

import numpy as np
import torch

from benchmarks.motion.recording import RecordedMotion
from efficient_vla.action.guidance import Guidance, guided_velocity, soft_mask
from efficient_vla.types import Execution

STEPS = 10
MAX_WEIGHT = 5.0
SCHEDULE = 'exponential'
"""Steps and guidance of the RTC paper (arXiv 2506.07339, table of hyperparameters)."""
DELAYS = 10
"""The largest of so many measured delays is assumed for the next chunk."""
CORRELATION_ROWS = 10.0
"""Errors of rows this far apart have the correlation exp(-1/2)."""


class GuidedPolicy:
    """Recorded chunks, drawn to what is being executed (RTC, with the true Jacobian)."""

    def __init__(self, recording: RecordedMotion) -> None:
        actions = torch.from_numpy(recording.chunks).float()
        self._mean = actions.mean((0, 1))
        self._std = actions.std((0, 1)) + 1e-6
        self._chunks = (actions - self._mean) / self._std
        same = self._chunks[1:, :-1] - self._chunks[:-1, 1:]  # of one time, from two frames
        variance = float(same.square().mean()) if len(actions) > 1 else 0.0
        rows = torch.arange(actions.shape[1], dtype=torch.float64)
        near = torch.exp(-0.5 * ((rows[:, None] - rows) / CORRELATION_ROWS) ** 2)
        sizes, basis = torch.linalg.eigh(variance * near)
        self._sizes, self._basis = sizes.clamp(min=0).float()[:, None], basis.float()
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
        said = self._chunks[step]
        found = said
        if self._last is not None:
            begun, before = self._last
            left = before[self._passed(step, begun) :]
            found = self._guided(said, left) if len(left) else said
        self._last = step, found
        rows: np.ndarray = (found * self._std + self._mean).double().numpy()
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

            def velocity(x: torch.Tensor, time: float = time) -> torch.Tensor:
                away = self._basis.T @ (x - time * said)  # along the principal errors
                away = away / (time**2 * self._sizes + (1 - time) ** 2)
                return said + self._basis @ ((time * self._sizes - (1 - time)) * away)

            x = x + guided_velocity(velocity, x, time, guidance) / STEPS
        return x[0].detach()
