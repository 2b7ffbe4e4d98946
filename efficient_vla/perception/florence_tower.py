# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The vision half of Florence-2: a DaViT, whose four stages shrink the image by 32."""

import math
from typing import Any

import torch
from torch import nn


class FlorenceTower(nn.Module):
    """Pixels -> tokens in the width of the language model, in raster order.

    ``encoder`` and ``connector`` are those of transformers. The token that the connector puts in
    front, the mean of all others, has no place in the image and is left out. Channels attend to
    each other over the whole image, so that a pass over some patches only is not offered.
    """

    can_update = False
    reach = (0, 0)

    def __init__(self, encoder: Any, connector: nn.Module) -> None:
        super().__init__()
        self.encoder, self.connector = encoder, connector
        self.patch_size: int = math.prod(encoder.config.patch_stride)
        """Side of a token [pixels]."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map normalised pixels [B, 3, H, W] to tokens [B, T, D]."""
        tokens: torch.Tensor = self.connector(self.encoder(pixels).last_hidden_state)
        return tokens[:, 1:]
