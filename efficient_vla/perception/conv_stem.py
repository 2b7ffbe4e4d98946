# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Convolutional stems: they learn from little data where a linear patch embedding does not.

Source: "Early Convolutions Help Transformers See Better", arXiv 2106.14881.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

STRIDE = 12
SQUARE = 3
"""Cells a side of the smallest square in whose middle a cell is complete."""


class ConvStem(nn.Module):
    """Map [B, 3, H, W] to [B, width, H / 12, W / 12]; replaces a patch embedding of stride 12."""

    def __init__(self, width: int, channels: tuple[int, int, int] = (32, 64, 96)) -> None:
        """Make the layers; ``channels`` are those of the strides 2, 4 and 4."""
        super().__init__()
        self.width = width
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

    @property
    def reach(self) -> tuple[int, int]:
        """Pixels that a cell sees before and after its own 12, in each direction."""
        first, last = 0, 0
        for layer in reversed(self.layers):
            if isinstance(layer, nn.Conv2d):
                stride, padding, kernel = layer.stride[0], int(layer.padding[0]), layer.kernel_size
                first = first * stride - padding
                last = last * stride - padding + kernel[0] - 1
        return -first, last - (STRIDE - 1)

    def fold(self) -> None:
        """Put the norms into the convolutions before them, for inference; the map stays the same.

        Weights are laid out by pixel, as camera images are.
        """
        folded: list[nn.Module] = []
        for layer in self.layers.eval():
            if isinstance(layer, nn.BatchNorm2d):
                folded[-1] = fuse_conv_bn_eval(folded[-1], layer)
            else:
                folded.append(nn.ReLU(inplace=True) if isinstance(layer, nn.ReLU) else layer)
        self.layers = nn.Sequential(*folded).to(memory_format=torch.channels_last)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the feature map."""
        return self.layers(pixels)

    def cells(
        self, pixels: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        """Return [n, width], the cells (``rows``, ``columns``) int64 [n] of one image [3, H, W].

        Computed are squares of three cells around those without a neighbour, and the box around
        all others, one cell wider. A cell sees less than 12 pixels beyond its own, so that zeros
        around a square or box are seen only where they are those around the image.
        """
        height, width = (size // STRIDE for size in pixels.shape[1:])
        among = pixels.new_zeros(1, height, width)
        among[0, rows, columns] = 1
        crowd = F.avg_pool2d(among, 3, stride=1, padding=1, divisor_override=1)
        alone = (crowd[0, rows, columns] < 1.5) & (min(height, width) >= SQUARE)
        result = pixels.new_empty(len(rows), self.width)
        if alone.any():
            result[alone] = self._squares(pixels, rows[alone], columns[alone])
        if not alone.all():
            result[~alone] = self._box(pixels, rows[~alone], columns[~alone])
        return result

    def _squares(
        self, pixels: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        top = (rows - 1).clamp(0, pixels.shape[1] // STRIDE - SQUARE)
        left = (columns - 1).clamp(0, pixels.shape[2] // STRIDE - SQUARE)
        size = SQUARE * STRIDE
        squares = pixels.unfold(1, size, STRIDE).unfold(2, size, STRIDE)[:, top, left]
        features = self.layers(squares.transpose(0, 1))  # [n, width, 3, 3]
        return features[torch.arange(len(rows), device=rows.device), :, rows - top, columns - left]

    def _box(self, pixels: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        top, bottom = max(int(rows.min()) - 1, 0), int(rows.max()) + 2
        left, right = max(int(columns.min()) - 1, 0), int(columns.max()) + 2
        box = pixels[:, top * STRIDE : bottom * STRIDE, left * STRIDE : right * STRIDE]
        return self.layers(box[None])[0, :, rows - top, columns - left].T
