# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunk regression in one pass (OpenVLA-OFT, arXiv 2502.19645, without its placeholder tokens)."""

import torch
from torch import nn


class RegressionHead(nn.Module):
    """Conditioning vector [B, F] -> normalised chunk [B, H, A]."""

    def __init__(self, features: int, width: int, horizon: int, actions: int) -> None:
        """Make an MLP with two hidden layers of ``width``."""
        super().__init__()
        self.shape = (horizon, actions)
        self.layers = nn.Sequential(
            nn.Linear(features, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, horizon * actions),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the chunk."""
        return self.layers(features).unflatten(-1, self.shape)
