# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The fast policy's eye: a small convolutional encoder that reports where things are.

Feature points by spatial softmax (Levine et al., arXiv 1504.00702), modulated by the plan with
FiLM (arXiv 1709.07871) so that the encoder looks for what the plan is about.
"""

import torch
from torch import nn


class SpatialSoftmax(nn.Module):
    """Feature map [B, C, h, w] -> expected coordinates in [-1, 1], [B, 2 C]."""

    def __init__(self, channels: int) -> None:
        """Learn one temperature a channel."""
        super().__init__()
        self.log_temperature = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return x of all channels, then y."""
        batch, channels, rows, columns = features.shape
        logits = features.flatten(2).float() * self.log_temperature.exp()
        weights = logits.softmax(-1).view(batch, channels, rows, columns)
        x = torch.linspace(-1, 1, columns, device=features.device)
        y = torch.linspace(-1, 1, rows, device=features.device)
        return torch.cat([(weights.sum(2) * x).sum(-1), (weights.sum(3) * y).sum(-1)], 1)


class ImageEncoder(nn.Module):
    """Pixels [B, 3, H, W] and a condition [B, F] -> feature points [B, 2 ``points``]."""

    def __init__(self, condition: int, points: int = 64) -> None:
        """Make three strided convolutions, and two more that the plan modulates."""
        super().__init__()
        self.early = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Conv2d(48, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.film = nn.Linear(condition, 128)
        self.late = nn.Conv2d(64, 64, 3, padding=1)
        self.points = nn.Conv2d(64, points, 1)
        self.softmax = SpatialSoftmax(points)

    def forward(self, pixels: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return the feature points."""
        scale, shift = self.film(condition)[..., None, None].chunk(2, 1)
        features = self.late(self.early(pixels))
        features = torch.relu(features * (1 + scale) + shift)
        return self.softmax(self.points(features))
