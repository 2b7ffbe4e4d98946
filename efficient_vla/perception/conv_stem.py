# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Convolutional stems: they learn from little data where a linear patch embedding does not.

Source: "Early Convolutions Help Transformers See Better", arXiv 2106.14881.
"""

import torch
from torch import nn


class ConvStem(nn.Module):
    """Map [B, 3, H, W] to [B, width, H / 12, W / 12]; replaces a patch embedding of stride 12."""

    def __init__(self, width: int, channels: tuple[int, int, int] = (32, 64, 96)) -> None:
        """Make the layers; ``channels`` are those of the strides 2, 4 and 4."""
        super().__init__()
        first, second, third = channels
        self.layers = nn.Sequential(
            nn.Conv2d(3, first, 3, stride=2, padding=1),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, padding=1),
            nn.BatchNorm2d(third),
            nn.ReLU(),
            nn.Conv2d(third, width, 3, stride=3),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the feature map."""
        return self.layers(pixels)
