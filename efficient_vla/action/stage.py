# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Plan (+ Frame) -> ActionChunk."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from efficient_vla.action.policies import DualPolicy
from efficient_vla.action.policies import SinglePolicy
from efficient_vla.types import ActionChunk
from efficient_vla.types import ControlMode
from efficient_vla.types import Frame
from efficient_vla.types import InvalidRecordError
from efficient_vla.types import Plan


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


class Actor:
    """Decode plans into chunks: from the plan alone, or with a fresh image beside it."""

    def __init__(
        self,
        policy: SinglePolicy | DualPolicy,
        cameras: tuple[str, ...],
        space: ActionSpace,
        pixels: Callable[[dict[str, np.ndarray]], np.ndarray],
    ) -> None:
        """Use ``pixels``: images of a frame -> float array [cameras * 3, rows, columns]."""
        self.policy = policy
        self.cameras = cameras
        self.space = space
        self.needs_image = isinstance(policy, DualPolicy)
        self.architecture = 'dual' if self.needs_image else 'single'
        self.state_names = space.state_names
        self._pixels = pixels
        self._sequence = 0

    @property
    def parameters_mb(self) -> float:
        """Resident size of the policy's weights [MB]."""
        return sum(p.numel() * p.element_size() for p in self.policy.parameters()) / 1e6

    def reset(self, reason: str = 'reset') -> None:
        """Start a new episode; the policy has no memory of its own."""

    def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
        """Return the actions that follow ``frame``.

        'single' takes no image; its frame carries the state at the plan's capture time.
        Raises ``InvalidRecordError`` for a state of the wrong width.
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
        latents = torch.from_numpy(plan.latents)[None]
        with torch.inference_mode():
            if self.needs_image:
                pixels = torch.from_numpy(self._pixels(frame.images))[None]
                normalised = self.policy(latents, pixels, state)
            else:
                normalised = self.policy(latents, state)
        self._sequence += 1
        return ActionChunk(
            actions=(normalised[0].numpy() * space.scale).astype(np.float32),
            dt=space.dt,
            names=space.names,
            control_mode=space.control_mode,
            stamp=frame.stamp,
            sequence=self._sequence,
            plan_sequence=plan.sequence,
            plan_stamp=plan.stamp,
            latency_ms=(time.perf_counter() - started) * 1e3,
        )
