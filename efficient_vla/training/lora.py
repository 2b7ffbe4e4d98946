# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Low-rank updates of a frozen module's linear layers (LoRA, arXiv 2106.09685)."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class LowRank(nn.Module):
    """A frozen linear layer plus the product of two thin matrices, which starts at zero."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.empty(rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, math.sqrt(5))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply both."""
        return self.base(hidden) + functional.linear(functional.linear(hidden, self.down), self.up)


def attach(model: nn.Module, rank: int) -> list[nn.Parameter]:
    """Wrap every linear layer of the model in place, and return the new parameters."""
    added: list[nn.Parameter] = []
    linears = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    for name, linear in linears:
        owner, _, leaf = name.rpartition('.')
        wrapped = LowRank(linear, rank)
        setattr(model.get_submodule(owner), leaf, wrapped)
        added += [wrapped.down, wrapped.up]
    return added


def updates(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield ``<layer>.down`` [R, in] and ``<layer>.up`` [out, R], by the layers' own names."""
    modules: Any = model.named_modules()
    for name, module in modules:
        if isinstance(module, LowRank):
            yield f'{name}.down', module.down
            yield f'{name}.up', module.up
