# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The two shapes of policy on top of one plan."""

import torch
from torch import nn

from efficient_vla.action.heads.regression import RegressionHead
from efficient_vla.action.image_encoder import ImageEncoder


class SinglePolicy(nn.Module):
    """Plan latents and proprioception -> chunk."""

    needs_image = False

    def __init__(
        self, queries: int, width: int, state: int, horizon: int, actions: int, hidden: int = 384
    ) -> None:
        """Flatten the plan into one regression head."""
        super().__init__()
        self.head = RegressionHead(queries * width + state, hidden, horizon, actions)

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


class DualPolicy(nn.Module):
    """A slow plan, a fresh image and proprioception -> chunk (HiRT, arXiv 2410.05273)."""

    needs_image = True

    def __init__(
        self,
        queries: int,
        width: int,
        state: int,
        horizon: int,
        actions: int,
        condition: int = 192,
        points: int = 64,
        hidden: int = 512,
    ) -> None:
        """Compress the plan to ``condition`` numbers that steer the image encoder and the head."""
        super().__init__()
        self.condition = nn.Sequential(
            nn.LayerNorm(queries * width), nn.Linear(queries * width, condition), nn.GELU()
        )
        self.encoder = ImageEncoder(condition, points)
        self.head = RegressionHead(condition + 2 * points + state, hidden, horizon, actions)

    def forward(
        self, latents: torch.Tensor, pixels: torch.Tensor, state: torch.Tensor
    ) -> torch.Tensor:
        """Map latents [B, Q, D], pixels [B, 3, H, W], state [B, S] to a chunk [B, H, A]."""
        condition = self.condition(latents.flatten(1))
        points = self.encoder(pixels, condition)
        return self.head(torch.cat([condition, points, state], 1))
