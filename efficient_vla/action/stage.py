# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Plan (+ Frame) -> ActionChunk."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from efficient_vla.action.generators import Generator
from efficient_vla.action.generators import Given
from efficient_vla.action.settings import ActorSettings
from efficient_vla.types import ActionChunk
from efficient_vla.types import ControlMode
from efficient_vla.types import Frame
from efficient_vla.types import InvalidRecordError
from efficient_vla.types import Plan

DELAYS = 10
"""Measured delays that are remembered."""


@dataclass(frozen=True, slots=True)
class ActionSpace:
    """Units and names on both sides of a fast policy."""

    state_names: tuple[str, ...]
    state_mean: np.ndarray
    state_std: np.ndarray
    names: tuple[str, ...]
    scale: np.ndarray
    control_mode: ControlMode
    dt: float


@dataclass(frozen=True, slots=True)
class _Last:
    """The chunk before."""

    normalised: torch.Tensor
    """[H, A]."""
    stamp: float
    instruction: str


class Actor:
    """Decode plans into chunks: from the plan alone, or with a fresh image beside it."""

    def __init__(
        self,
        generator: Generator,
        cameras: tuple[str, ...],
        space: ActionSpace,
        pixels: Callable[[dict[str, np.ndarray]], np.ndarray],
    ) -> None:
        """Use ``pixels``: images of a frame -> float array [cameras * 3, rows, columns]."""
        self.generator = generator
        self.cameras = cameras
        self.space = space
        self.needs_image = generator.needs_image
        self.architecture = 'dual' if self.needs_image else 'single'
        self.state_names = space.state_names
        self._pixels = pixels
        self._sequence = 0
        self._last: _Last | None = None
        self._delays: deque[int] = deque(maxlen=DELAYS)

    @property
    def parameters_mb(self) -> float:
        """Resident size of the policy's weights [MB]."""
        assert isinstance(self.generator, nn.Module)
        return sum(p.numel() * p.element_size() for p in self.generator.parameters()) / 1e6

    @property
    def delay(self) -> int:
        """Rows that are taken to be executed before the next chunk arrives."""
        return max(self._delays, default=0)

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on.

        Raises ``InvalidSettingError`` where an add-on that they need was not loaded.
        """
        self.generator.configure(settings)

    def note_delay(self, rows: float) -> None:
        """Take in how many rows of a chunk were executed before the next one arrived.

        The greatest of the last ten is assumed for the next chunk (RTC, arXiv 2506.07339). NaN,
        which a controller says at its start and after a pause, is left out.
        """
        if math.isfinite(rows):
            self._delays.append(max(0, math.ceil(rows)))

    def reset(self, reason: str = 'reset') -> None:
        """Start a new episode: forget the chunk before; the delay is the machine's and stays."""
        self._last = None
        self.generator.reset()

    def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
        """Return the actions that follow ``frame``.

        'single' takes no image; its frame carries the state at the plan's capture time.
        Raises ``InvalidRecordError`` for a state of the wrong width, and where tokens of a head
        make no chunk.
        """
        started = time.perf_counter()
        if frame.state.shape != (len(self.state_names),):
            raise InvalidRecordError(
                f'robot state has {len(frame.state)} numbers; the policy expects '
                f'{len(self.state_names)}: {", ".join(self.state_names)}. Check the robot driver.'
            )
        space = self.space
        state = torch.from_numpy(
            ((frame.state - space.state_mean) / space.state_std).astype(np.float32)
        )[None]
        pixels = None
        if self.needs_image:
            pixels = torch.from_numpy(self._pixels(frame.images))[None]
        before, same_task = self._before(plan, frame)
        with torch.inference_mode():
            made = self.generator.make(
                Given(
                    torch.from_numpy(plan.latents)[None],
                    state,
                    pixels,
                    before,
                    self.delay,
                    same_task,
                )
            )
        self._last = _Last(made.chunk, frame.stamp, plan.instruction)
        self._sequence += 1
        return ActionChunk(
            actions=(made.chunk.numpy() * space.scale).astype(np.float32),
            dt=space.dt,
            names=space.names,
            control_mode=space.control_mode,
            stamp=frame.stamp,
            sequence=self._sequence,
            plan_sequence=plan.sequence,
            plan_stamp=plan.stamp,
            latency_ms=(time.perf_counter() - started) * 1e3,
            steps=made.steps,
            delay=made.delay,
            note=made.note,
        )

    def _before(self, plan: Plan, frame: Frame) -> tuple[torch.Tensor | None, bool]:
        """Return the rows of the chunk before from this frame on, and whether its task is ours.

        Rows are displacements of one ``dt`` each, so that they mean the same in any later state.
        """
        last = self._last
        if last is None:
            return None, True
        passed = round((frame.stamp - last.stamp) / self.space.dt)
        if not 0 <= passed < len(last.normalised):
            return None, True
        return last.normalised[passed:], last.instruction == plan.instruction
