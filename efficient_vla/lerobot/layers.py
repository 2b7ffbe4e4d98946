# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Modules of torch made of the tensors of a checkpoint, whose shapes they check."""

import torch
from torch import nn

from efficient_vla.lerobot.weights import Tensors


def constant(tensor: torch.Tensor) -> nn.Parameter:
    """Return a weight that is not trained."""
    return nn.Parameter(tensor, requires_grad=False)


def linear(tensors: Tensors, name: str, outputs: int, inputs: int) -> nn.Linear:
    """Return a linear layer with a bias."""
    made = nn.Linear(inputs, outputs, device='meta')
    made.weight = constant(tensors.take(f'{name}.weight', outputs, inputs))
    made.bias = constant(tensors.take(f'{name}.bias', outputs))
    return made


def layer_norm(tensors: Tensors, name: str, width: int) -> nn.LayerNorm:
    """Return a layer norm, eps 1e-5."""
    made = nn.LayerNorm(width, device='meta')
    made.weight = constant(tensors.take(f'{name}.weight', width))
    made.bias = constant(tensors.take(f'{name}.bias', width))
    return made


def group_norm(tensors: Tensors, name: str, groups: int, width: int) -> nn.GroupNorm:
    """Return a group norm, eps 1e-5."""
    made = nn.GroupNorm(groups, width, device='meta')
    made.weight = constant(tensors.take(f'{name}.weight', width))
    made.bias = constant(tensors.take(f'{name}.bias', width))
    return made


class Conv1d(nn.Module):
    """A convolution over time, [B, inputs, T] -> [B, outputs, T']."""

    def __init__(
        self,
        tensors: Tensors,
        name: str,
        outputs: int,
        inputs: int,
        kernel: int,
        stride: int = 1,
        up: bool = False,
    ) -> None:
        """Read the tensors; ``up`` transposes it, which lengthens time by ``stride``."""
        super().__init__()
        shape = (inputs, outputs, kernel) if up else (outputs, inputs, kernel)
        self.weight = constant(tensors.take(f'{name}.weight', *shape))
        self.bias = constant(tensors.take(f'{name}.bias', outputs))
        self._apply_to = nn.functional.conv_transpose1d if up else nn.functional.conv1d
        self._stride, self._padding = stride, (kernel - stride) // 2 if up else kernel // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolved sequence."""
        return self._apply_to(x, self.weight, self.bias, self._stride, self._padding)
