# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How training images vary."""

import torch

GAIN, SHIFT = 0.15, 0.08
"""Standard deviations of the gain a colour and of the brightness."""


def jittered(pixels: torch.Tensor) -> torch.Tensor:
    """Return normalised pixels [B, 3, H, W], each image with another gain and brightness."""
    gain = 1 + GAIN * torch.randn(len(pixels), 3, 1, 1, device=pixels.device).clamp(-2, 2)
    return pixels * gain + SHIFT * torch.randn(len(pixels), 1, 1, 1, device=pixels.device)
