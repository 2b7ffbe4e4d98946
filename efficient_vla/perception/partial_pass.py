# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All layers of a vision encoder over some of its patches, as a module of tensors alone."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class TowerEnter(nn.Module):
    """Norm, and one product for queries, keys and values."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        attention = stock.self_attn
        self.norm, self.heads = stock.layer_norm1, attention.num_heads
        parts = attention.q_proj, attention.k_proj, attention.v_proj
        weight, bias = (
            nn.Parameter(torch.cat([getattr(part, name) for part in parts]).detach(), False)
            for name in ('weight', 'bias')
        )
        self.qkv = nn.Linear(weight.shape[1], weight.shape[0], device='meta')
        self.qkv.weight, self.qkv.bias = weight, bias

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values [B, heads, N, d] of hidden states [B, N, D]."""
        rows = self.qkv(self.norm(states))
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in rows.chunk(3, -1)
        )
        return query, key, value


class TowerLeave(nn.Module):
    """Projection, and the feed-forward network."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.project, self.norm, self.feed = stock.self_attn.out_proj, stock.layer_norm2, stock.mlp

    def forward(self, states: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Return the layer's output [B, N, D]; ``attended`` is [B, N, D]."""
        states = states + self.project(attended)
        return states + self.feed(self.norm(states))


class PartialPass(nn.Module):
    """All layers over some rows of an image, the others of which keep their keys and values.

    Layers are of SigLIP's and CLIP's kind, as stock ones, whose weights are shared but for those of
    queries, keys and values; ``norm`` is behind the last one.
    """

    def __init__(self, layers: Iterable[Any], norm: nn.Module) -> None:
        super().__init__()
        stock = list(layers)
        self.enters = nn.ModuleList(map(TowerEnter, stock))
        self.leaves = nn.ModuleList(map(TowerLeave, stock))
        self.scale: float = stock[0].self_attn.scale
        self.norm = norm

    def forward(
        self, states: torch.Tensor, rows: torch.Tensor, *memory: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return hidden states [1, n, D], the last layer's attention [n, N], new keys and values.

        ``states`` [1, n, D] enter in the ``rows`` int64 [n]. ``memory`` are keys and values of all
        rows, [1, heads, N, d] each, layer by layer; the new ones are [1, heads, n, d].
        """
        made: list[torch.Tensor] = []
        weights = states
        for index, (enter, leave) in enumerate(zip(self.enters, self.leaves, strict=True)):
            query, *own = enter(states)
            pairs = zip(memory[2 * index : 2 * index + 2], own, strict=True)
            keys, values = (before.index_copy(2, rows, part) for before, part in pairs)
            # Written out, since OpenVINO's own attention is slower where there are few queries.
            weights = ((query * self.scale) @ keys.transpose(2, 3)).softmax(-1)
            states = leave(states, (weights @ values).transpose(1, 2).flatten(2))
            made += own
        return self.norm(states), weights.mean(1)[0], *made
