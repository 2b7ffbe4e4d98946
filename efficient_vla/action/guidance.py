# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: a new chunk that continues the one which is being executed.

Rows of the chunk before are inpainted while the flow runs (RTC, arXiv 2506.07339): rows that will
be executed anyway count fully, later ones less and less. The pull is pseudo-inverse guidance
(arXiv 2302.07121) with the true vector-Jacobian product through the network, and its weight is
clipped, without which it grows without bound at the first and the last step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Guidance:
    """What the new chunk is drawn to."""

    target: torch.Tensor
    """Chunk before on the rows of the new one, in the units of the network, [B, H, A]."""
    weights: torch.Tensor
    """How much each row counts, [H], 0 where the chunk before says nothing."""
    max_weight: float


def soft_mask(horizon: int, delay: int, known: int, schedule: str) -> torch.Tensor:
    """Return the weights of the rows, [H].

    The first ``delay`` rows will be executed from the chunk before and weigh 1; up to row
    ``known``, where that chunk ends, weights fall; after it they are 0. 'exponential' is the
    paper's (equation 5), 'linear' falls evenly, 'hard' gives 0 after the delay.
    """
    known = min(known, horizon)
    delay = min(delay, known)
    rows = torch.arange(horizon, dtype=torch.float32)
    left = ((known - rows) / (known - delay + 1)).clamp(0, 1)
    if schedule == 'exponential':
        fading = left * torch.expm1(left) / math.expm1(1)
    elif schedule == 'linear':
        fading = left
    else:
        fading = torch.zeros(horizon)
    fading[rows >= known] = 0.0
    fading[rows < delay] = 1.0
    return fading


def pull_weight(time: float, max_weight: float) -> float:
    """Return min(beta, (1 - t) / (t r^2)) with r^2 = (1 - t)^2 / (t^2 + (1 - t)^2)."""
    rest = 1.0 - time
    if time <= 0.0 or rest <= 0.0:
        return max_weight
    return min(max_weight, (time * time + rest * rest) / (time * rest))


def guided_velocity(
    velocity: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    time: float,
    guidance: Guidance,
) -> torch.Tensor:
    """Return the velocity at ``x`` [B, H, A] and ``time``, drawn to the chunk before.

    The chunk that ``x`` leads to is x + (1 - t) v(x); its weighted distance to the target goes back
    through the network by one vector-Jacobian product. Must not run in inference mode.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        found = velocity(x)
        reached = x + (1.0 - time) * found
        error = (guidance.target - reached.detach()) * guidance.weights[:, None]
        (pull,) = torch.autograd.grad(reached, x, error)
    return found.detach() + pull_weight(time, guidance.max_weight) * pull
