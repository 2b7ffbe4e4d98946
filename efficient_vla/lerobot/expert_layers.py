# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of action experts, read from the tensors of a folder and checked against each other."""

import torch
from torch import nn

from efficient_vla.action.heads.expert import Feed
from efficient_vla.action.heads.expert_ends import AdaptiveNorm, Norm
from efficient_vla.lerobot.weights import Tensors
from efficient_vla.tensors import give_back


def linear(tensors: Tensors, names: str | tuple[str, ...], inputs: int) -> nn.Linear:
    """Return a linear layer, of several one after the other, that takes ``inputs`` numbers.

    Those at the ends of a policy have a bias, those in its layers, whose names have points, none.
    Raises ``CheckpointError`` where a tensor is missing or of another shape.
    """
    names = (names,) if isinstance(names, str) else names
    rows = [tensors.shape(f'{name}.weight')[0] for name in names]
    pairs = list(zip(names, rows, strict=True))
    weight = _joined([tensors.take(f'{name}.weight', count, inputs) for name, count in pairs])
    made = nn.Linear(inputs, len(weight), bias=False, device='meta')
    made.weight = nn.Parameter(weight, requires_grad=False)
    if '.' not in names[0]:
        bias = _joined([tensors.take(f'{name}.bias', count) for name, count in pairs])
        made.bias = nn.Parameter(bias, requires_grad=False)
    return made


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    if len(parts) == 1:
        return parts[0]
    made = torch.cat(parts)
    parts.clear()
    give_back(cycles=False)
    return made


def norm(tensors: Tensors, name: str, width: int, eps: float, less_one: bool = False) -> Norm:
    """Return a norm of rows ``width`` wide; ``less_one``: its weights are stored less one."""
    weight = tensors.take(f'{name}.weight', width)
    return Norm(weight + 1 if less_one else weight, eps)


def adaptive_norm(tensors: Tensors, name: str, width: int, eps: float) -> AdaptiveNorm:
    """Return a norm of rows ``width`` wide that time scales, shifts and gates."""
    weight, bias = (3 * width, width), (3 * width,)
    dense = nn.Linear(width, 3 * width, device='meta')
    dense.weight = nn.Parameter(tensors.take(f'{name}.dense.weight', *weight), requires_grad=False)
    dense.bias = nn.Parameter(tensors.take(f'{name}.dense.bias', *bias), requires_grad=False)
    return AdaptiveNorm(dense, eps)


def feed(tensors: Tensors, width: int, tanh_gelu: bool) -> Feed:
    """Return the feed-forward network ``mlp`` of a layer."""
    gate, up = (linear(tensors, f'mlp.{name}_proj', width) for name in ('gate', 'up'))
    down = linear(tensors, 'mlp.down_proj', up.out_features)
    return Feed(gate, up, down, tanh_gelu)
