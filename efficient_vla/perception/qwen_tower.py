# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The vision half of Qwen-VL, which takes flat patches and merges four of them into a token."""

from typing import Any

import torch
from torch import nn


class QwenTower(nn.Module):
    """Pixels -> tokens in the width of the language model, in raster order.

    ``visual`` is the vision module of transformers, merger included. Windows (Qwen2.5-VL) permute
    patches inside and are undone by itself, so that a pass over some patches only is not offered.
    Qwen3-VL gives features for early layers of the decoder too (DeepStack, arXiv 2406.04334); they
    follow those of the token, in the same row.
    """

    can_update = False
    reach = (0, 0)

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual = visual
        self.patch_size: int = visual.patch_size

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map normalised pixels [B, 3, H, W] to tokens [B, T, (1 + levels) D].

        Sides are multiples of the side of a token, which is that of two patches.
        """
        merge, side = self.visual.spatial_merge_size, self.patch_size
        rows, columns = (length // side for length in pixels.shape[-2:])
        grid = torch.tensor([[1, rows, columns]] * len(pixels), device=pixels.device)
        found = self.visual(self.flat_patches(pixels, merge), grid_thw=grid)
        levels = getattr(found, 'deepstack_features', None) or ()
        return torch.cat([found.pooler_output, *levels], -1).unflatten(0, (len(pixels), -1))

    def flat_patches(self, pixels: torch.Tensor, merge: int) -> torch.Tensor:
        """Return patches as the module wants them, [B x patches, 3 x frames x side x side].

        The patches of one token follow each other; a still image fills every frame of a patch.
        """
        side, frames = self.patch_size, self.visual.config.temporal_patch_size
        # [B, 3, rows, merge, side, columns, merge, side]
        cut = pixels.unflatten(3, (-1, merge, side)).unflatten(2, (-1, merge, side))
        cut = cut.permute(0, 2, 5, 3, 6, 1, 4, 7)
        return cut.unsqueeze(6).expand(*cut.shape[:6], frames, side, side).flatten(0, 4).flatten(1)
