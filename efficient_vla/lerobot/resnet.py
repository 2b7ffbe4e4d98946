# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The ResNets of torchvision (arXiv 1512.03385) up to their last feature map.

Batch norms do not change any more once a policy is trained, and are folded into the convolutions
before them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.layers import constant, group_norm
from efficient_vla.lerobot.weights import Tensors

BLOCKS = {
    'resnet18': (2, 2, 2, 2),
    'resnet34': (3, 4, 6, 3),
    'resnet50': (3, 4, 6, 3),
    'resnet101': (3, 4, 23, 3),
    'resnet152': (3, 8, 36, 3),
}
"""Name -> blocks in each of the four stages."""
DEEP = ('resnet50', 'resnet101', 'resnet152')
"""Those whose blocks have three convolutions."""
EXPANSION = 4
"""Channels of such a block, in those of its middle."""
STEM = 64
"""Channels of the stem; a narrower one has as many blocks as its file holds."""
NORM_EPS = 1e-5


class Names(NamedTuple):
    """What a checkpoint calls the parts."""

    stem: str
    norm: str
    stages: Sequence[str]


AS_NAMED = Names('conv1', 'bn1', ('layer1', 'layer2', 'layer3', 'layer4'))
AS_LISTED = Names('0', '1', ('4', '5', '6', '7'))
"""Names within ``nn.Sequential`` of the same parts."""


class Unit(nn.Module):
    """A convolution with its norm: folded into it, or a group norm behind it."""

    def __init__(
        self,
        tensors: Tensors,
        names: tuple[str, str],
        shape: tuple[int, int, int],
        stride: int = 1,
        dilation: int = 1,
        grouped: bool = False,
    ) -> None:
        """Read the convolution of ``shape``, outputs, inputs and kernel, named first."""
        super().__init__()
        outputs, inputs, kernel = shape
        weight = tensors.take(f'{names[0]}.weight', outputs, inputs, kernel, kernel)
        self.norm = None
        self.bias = None
        if grouped:
            self.norm = group_norm(tensors, names[1], outputs // 16, outputs)
        else:
            weight, bias = _folded(weight, tensors.at(names[1]))
            self.bias = constant(bias)
        self.weight = constant(weight)
        self._options = stride, dilation * (kernel // 2), dilation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the norm makes of the convolved images [B, C, H, W]."""
        x = F.conv2d(x, self.weight, self.bias, *self._options)
        return x if self.norm is None else self.norm(x)


def _folded(weight: torch.Tensor, norm: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of a convolution with the batch norm behind it."""
    width = len(weight)
    gain, shift, mean, variance = (
        norm.take(name, width).double()
        for name in ('weight', 'bias', 'running_mean', 'running_var')
    )
    if bool((variance < 0).any()):
        raise CheckpointError(
            f'{norm.label("running_var")} holds variances below 0; expected none. Copy the file '
            'again.'
        )
    scale = gain / (variance + NORM_EPS).sqrt()
    folded = weight.double() * scale[:, None, None, None]
    return folded.float(), (shift - mean * scale).float()


class ResnetBlock(nn.Module):
    """A residual block of two convolutions, or of three with a narrow one in the middle."""

    def __init__(
        self,
        tensors: Tensors,
        inputs: int,
        planes: int,
        stride: int,
        dilation: int,
        deep: bool,
        grouped: bool,
    ) -> None:
        super().__init__()
        outputs = planes * EXPANSION if deep else planes
        shapes = [(planes, inputs, 3), (planes, planes, 3)]
        if deep:
            shapes = [(planes, inputs, 1), (planes, planes, 3), (outputs, planes, 1)]
        wide = 1 if deep else 0
        self.units = nn.ModuleList(
            Unit(
                tensors,
                (f'conv{place + 1}', f'bn{place + 1}'),
                shape,
                stride if place == wide else 1,
                dilation if place == wide else 1,
                grouped,
            )
            for place, shape in enumerate(shapes)
        )
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            names = ('downsample.0', 'downsample.1')
            self.shortcut = Unit(tensors, names, (outputs, inputs, 1), stride, 1, grouped)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the images after the block."""
        y = x
        for place, unit in enumerate(self.units):
            y = unit(F.relu(y) if place else y)
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    """Images [B, 3, H, W] -> the last feature map [B, C, h, w]."""

    def __init__(
        self,
        tensors: Tensors,
        name: str,
        names: Names,
        grouped: bool = False,
        dilated: bool = False,
    ) -> None:
        """Read the tensors of the net ``name``.

        ``grouped`` has group norms, ``dilated`` keeps the size of the map in the last stage.
        """
        super().__init__()
        tensors.without_effect([r'.*\.num_batches_tracked'])
        width = tensors.shape(f'{names.stem}.weight')[0]
        self.stem = Unit(tensors, (names.stem, names.norm), (width, 3, 7), 2, 1, grouped)
        deep = name in DEEP
        channels, blocks = width, []
        for stage, stage_name in enumerate(names.stages):
            part, planes = tensors.at(stage_name), width * 2**stage
            count = BLOCKS[name][stage] if width == STEM else max(part.numbered(), 1)
            dilate = dilated and stage == len(names.stages) - 1
            for place in range(count):
                stride = 2 if stage and not place and not dilate else 1
                dilation = 2 if dilate and place else 1
                at = part.at(str(place))
                blocks.append(ResnetBlock(at, channels, planes, stride, dilation, deep, grouped))
                channels = planes * EXPANSION if deep else planes
        self.blocks = nn.Sequential(*blocks)
        self.channels = channels
        self._halvings = 4 if dilated else 5

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the feature map."""
        x = F.max_pool2d(F.relu(self.stem(images)), 3, 2, 1)
        found: torch.Tensor = self.blocks(x)
        return found

    def side(self, pixels: int) -> int:
        """Return rows of the map for rows of an image, or columns for columns."""
        for _ in range(self._halvings):
            pixels = (pixels + 1) // 2
        return pixels
