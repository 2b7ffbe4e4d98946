# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What steers a fast policy in place of its own FiLM: one file a way, listed in ``dual_settings``.

Each is a ``Steering``, the part of an add-on beside low-rank updates: a condition made of the plan,
and the late half of the policy's eye, which looks for what the condition is about. The early half
and the head are those of the policy.
"""

from pkgutil import resolve_name
from typing import Any, NamedTuple

import torch
from torch import nn

from efficient_vla.action.policies import DualPolicy, PolicyShape, SpatialSoftmax
from efficient_vla.dual_settings import CONDITIONINGS

FAST = 'fast.'
"""Prefix of updates of the head in an add-on."""
CHANNELS = 64
"""Of the eye's feature map."""


class Steer(NamedTuple):
    """What a chunk is steered by."""

    latents: torch.Tensor
    """[B, Q, D], or [B, Q + 1, D] where the plan has a token of its own."""
    slow: torch.Tensor | None = None
    """Chunk that the plan alone leads to, counted from the state of now, [B, H, A]."""
    elapsed: torch.Tensor | None = None
    """Rows that passed since the frame of the plan, int64 [B]."""


class Steering(nn.Module):
    """What an add-on has of a fast policy; by itself it steers with FiLM (arXiv 1709.07871)."""

    needs_slow = False
    """Whether it reads the chunk that the plan alone leads to."""

    def __init__(
        self, queries: int, width: int, state: int, horizon: int, actions: int, condition: int
    ) -> None:
        """Make the late half of the eye for a policy of this shape."""
        super().__init__()
        self.shape = PolicyShape(queries, width, state, horizon, actions)
        self.width = condition
        self.film = nn.Linear(condition, 2 * CHANNELS)
        self.late = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.points = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.softmax = SpatialSoftmax(CHANNELS)

    def begin_as(self, dual: DualPolicy) -> None:
        """Take over what the policy's own eye has learned."""
        for name in ('film', 'late', 'points', 'softmax'):
            getattr(self, name).load_state_dict(getattr(dual.encoder, name).state_dict())

    def condition(self, steer: Steer) -> torch.Tensor:
        """Return what the head is given of the plan, [B, C]."""
        raise NotImplementedError

    def look(self, features: torch.Tensor, condition: torch.Tensor, steer: Steer) -> torch.Tensor:
        """Return the feature points [B, 2 P] of a feature map [B, 64, h, w]."""
        scale, shift = self.film(condition)[..., None, None].chunk(2, 1)
        seen = torch.relu(self.late(features) * (1 + scale) + shift)
        points: torch.Tensor = self.softmax(self.points(seen))
        return points


class SteeredPolicy(nn.Module):
    """A fast policy whose eye and head are steered by an add-on."""

    def __init__(self, dual: DualPolicy, steering: Steering) -> None:
        """Join them; the rest of ``dual`` is not used."""
        super().__init__()
        self.early, self.head, self.steering = dual.encoder.early, dual.head, steering

    def forward(self, steer: Steer, pixels: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Map a plan, pixels [B, 3, H, W] and state [B, S] to a chunk [B, H, A]."""
        condition = self.steering.condition(steer)
        points = self.steering.look(self.early(pixels), condition, steer)
        chunk: torch.Tensor = self.head(torch.cat([condition, points, state], 1))
        return chunk


def steering_class(name: str) -> Any:
    """Return the ``Steering`` of a conditioning."""
    return resolve_name(f'{__name__}.{CONDITIONINGS[name].kind}')


def keywords(dual: DualPolicy, shape: PolicyShape) -> dict[str, int]:
    """Return the keywords of a ``Steering`` for a policy, which its add-on keeps."""
    return {**shape._asdict(), 'condition': dual.encoder.film.in_features}
