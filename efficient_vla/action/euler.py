# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Follow a velocity from noise (time 0) to data (time 1) in equal steps."""

from typing import Protocol

import torch
from torch.nn import functional

from efficient_vla.action.guidance import Guidance, guided_velocity

PROBE = 0.5
"""Time to which the first velocity is followed to see whether it still holds."""


class Velocity(Protocol):
    """The velocity of a noisy chunk."""

    def __call__(self, x: torch.Tensor, time: float, whole: bool = True) -> torch.Tensor:
        """Return it for ``x`` [B, H, A]; without ``whole``, with features of the pass before."""


def follow(
    velocity: Velocity,
    x: torch.Tensor,
    steps: int,
    clean: int = 0,
    guidance: Guidance | None = None,
    cache_every: int = 1,
) -> tuple[torch.Tensor, int]:
    """Return what ``x`` [B, H, A] leads to in equal steps, and how many passes were whole.

    The first ``clean`` rows stay as they are. Every ``cache_every``-th pass is whole.
    """
    passes = 0
    for step in range(steps):
        whole = step % cache_every == 0
        passes += whole
        x = _step(velocity, x, step, steps, clean, guidance, whole)
    return x, passes


def follow_adaptively(
    velocity: Velocity, x: torch.Tensor, fewest: int, most: int, clean: int = 0
) -> tuple[torch.Tensor, int]:
    """Return what ``x`` leads to and how many passes it took, by how straight the way is.

    ProbeFlow: the cosine between the velocity at the start and that at a probe half-way along it
    says how straight: 1 takes the fewest steps, 0 and less the most. ProbeFlow's own rule between
    the two is not public in detail; here the steps grow evenly with the angle.
    """
    first = velocity(x, 0.0)
    probe = x.clone()
    probe[:, clean:] += PROBE * first[:, clean:]
    later = velocity(probe, PROBE)
    straight = functional.cosine_similarity(
        first[:, clean:].flatten(1), later[:, clean:].flatten(1)
    )
    angle = float(straight.min().clamp(0.0, 1.0).acos()) / (torch.pi / 2)
    steps = fewest + round(angle * (most - fewest))
    x = x.clone()
    x[:, clean:] += first[:, clean:] / steps
    for step in range(1, steps):
        x = _step(velocity, x, step, steps, clean, None, True)
    return x, steps + 1


def _step(
    velocity: Velocity,
    x: torch.Tensor,
    step: int,
    steps: int,
    clean: int,
    guidance: Guidance | None,
    whole: bool,
) -> torch.Tensor:
    time = step / steps

    def at(noisy: torch.Tensor) -> torch.Tensor:
        return velocity(noisy, time, whole)

    found = at(x) if guidance is None else guided_velocity(at, x, time, guidance)
    after = x + found / steps
    after[:, :clean] = x[:, :clean]
    return after
