# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The two shapes of policy on top of one plan."""

from typing import NamedTuple

import torch
from torch import nn

from efficient_vla.action.heads.regression import RegressionHead


class PolicyShape(NamedTuple):
    """Sizes of what goes into a fast policy and of what comes out."""

    queries: int
    width: int
    """Of a plan, whose latents are [Q, D]."""
    state: int
    horizon: int
    actions: int

    @property
    def plan(self) -> int:
        """Numbers of a plan."""
        return self.queries * self.width

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and numbers of a chunk."""
        return self.horizon, self.actions


def single_width(shape: PolicyShape) -> int:
    """Return the width of a head on a plan alone, which suits the plan."""
    return min(384, 2 * shape.width)


class SinglePolicy(nn.Module):
    """Plan latents and proprioception -> chunk."""

    needs_image = False

    def __init__(self, shape: PolicyShape, hidden: int = 0) -> None:
        """Make the head; ``hidden`` is its width, 0 for what suits the plan."""
        super().__init__()
        hidden = hidden or single_width(shape)
        self.head = RegressionHead(shape.plan + shape.state, hidden, *shape.chunk)

    def forward(self, latents: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Map latents [B, Q, D] and normalised state [B, S] to a normalised chunk [B, H, A]."""
        return self.head(torch.cat([latents.flatten(1), state], 1))

    @property
    def width(self) -> int:
        """Number of features that other heads read."""
        return self.head.layers[-1].in_features

    def features(self, latents: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return what the head makes of them before its last layer, [B, F]; other heads read it."""
        return self.head.layers[:-1](torch.cat([latents.flatten(1), state], 1))

    def chunk_of(self, features: torch.Tensor) -> torch.Tensor:
        """Return the chunk [B, H, A] of these features."""
        return self.head.layers[-1](features).unflatten(-1, self.head.shape)


class SpatialSoftmax(nn.Module):
    """Feature map [B, C, h, w] -> expected coordinates in [-1, 1], [B, 2 C]."""

    def __init__(self, channels: int) -> None:
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
    """The fast policy's eye: pixels [B, 3, H, W] and a condition [B, F] -> [B, 2 ``points``].

    Feature points by spatial softmax (Levine et al., arXiv 1504.00702), modulated by the plan with
    FiLM (arXiv 1709.07871) so that the encoder looks for what the plan is about.
    """

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


class DualPolicy(nn.Module):
    """A slow plan, a fresh image and proprioception -> chunk (HiRT, arXiv 2410.05273)."""

    needs_image = True

    def __init__(self, shape: PolicyShape) -> None:
        """Compress the plan to some numbers that steer the image encoder and the head."""
        super().__init__()
        condition, points, hidden = min(192, shape.width), 64, min(512, 8 * shape.width // 3)
        self.condition = nn.Sequential(
            nn.LayerNorm(shape.plan), nn.Linear(shape.plan, condition), nn.GELU()
        )
        self.encoder = ImageEncoder(condition, points)
        self.head = RegressionHead(condition + 2 * points + shape.state, hidden, *shape.chunk)

    def forward(
        self, latents: torch.Tensor, pixels: torch.Tensor, state: torch.Tensor
    ) -> torch.Tensor:
        """Map latents [B, Q, D], pixels [B, 3, H, W], state [B, S] to a chunk [B, H, A]."""
        condition = self.condition(latents.flatten(1))
        points = self.encoder(pixels, condition)
        return self.head(torch.cat([condition, points, state], 1))
