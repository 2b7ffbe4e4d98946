# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Latents that multi-head attention pools to one (HiRT, arXiv 2410.05273).

Plans that train it are of a random age, so that the fast policy knows stale ones.
"""

import torch
from torch import nn

from efficient_vla.action.conditioning import Steer, Steering

HEADS = 4


class MapPool(Steering):
    """A learned probe attends to all rows of the plan."""

    def __init__(self, **shape: int) -> None:
        """Make the pooling; the keywords are those of ``Steering``."""
        super().__init__(**shape)
        width = self.shape.width
        self.norm = nn.LayerNorm(width)
        # As rows keep their order, each has a place of its own.
        self.places = nn.Parameter(torch.randn(self.shape.queries, width) * 0.02)
        self.probe = nn.Parameter(torch.randn(1, width) * 0.02)
        self.attend = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.project = nn.Linear(width, self.width)

    def condition(self, steer: Steer) -> torch.Tensor:
        """Return the pooled latent [B, C]."""
        rows = self.norm(steer.latents) + self.places
        probe = self.probe.expand(len(rows), -1, -1)
        pooled, _ = self.attend(probe, rows, rows, need_weights=False)
        found: torch.Tensor = self.project(pooled[:, 0])
        return found
