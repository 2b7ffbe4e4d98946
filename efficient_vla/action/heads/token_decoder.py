# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A small decoder over action tokens: next-token and all-at-once in one network.

Slot i holds the token before it and predicts token i. Under the causal mask that is a language
model of actions; with every slot empty and no mask it names all tokens in one pass (the parallel
decoding of OpenVLA-OFT, arXiv 2502.19645).
"""

from typing import Any

import torch
from torch import nn

from efficient_vla.action.block import Block


class Layer(Block):
    """A block with norms before both parts."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, *options: Any) -> torch.Tensor:
        """Map [B, T, D] to [B, T, D]; ``options`` are those of ``attend``."""
        x = x + self.attend(self.norm1(x), *options)
        return x + self.think(self.norm2(x))


class TokenDecoder(nn.Module):
    """Features of a plan [B, F] and tokens -> logits of the tokens."""

    def __init__(
        self,
        features: int,
        size: int,
        length: int,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
    ) -> None:
        """Make the layers for ``size`` tokens in ``length`` slots."""
        super().__init__()
        self.size, self.length = size, length
        self.begin, self.empty = size, size + 1
        self.embed = nn.Embedding(size + 2, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.plan = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))
        self.blocks = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, size)
        nn.init.normal_(self.embed.weight, std=0.05)

    def condition(self, features: torch.Tensor) -> torch.Tensor:
        """Return what all passes over one plan share, [B, 1, D]."""
        return self.plan(features)[:, None]

    def store(self, batch: int) -> torch.Tensor:
        """Return an empty cache of keys and values, [layers, 2, B, heads, L, D / heads]."""
        heads = self.blocks[0].heads
        width = self.place.shape[1] // heads
        return self.place.new_zeros(len(self.blocks), 2, batch, heads, self.length, width)

    def hidden(
        self,
        before: torch.Tensor,
        condition: torch.Tensor,
        start: int = 0,
        store: torch.Tensor | None = None,
        causal: bool = True,
    ) -> torch.Tensor:
        """Return the last hidden states [B, T, D] of slots ``start`` to ``start`` + T.

        ``before`` [B, T] are the tokens before these slots, ``begin`` before the first. Slots
        before ``start`` are those in ``store``.
        """
        count = before.shape[1]
        x = self.embed(before) + self.place[start : start + count] + condition
        mask, whole = None, causal and count > 1
        if whole and start:
            slots = torch.arange(start + count, device=x.device)
            mask, whole = slots <= slots[start:, None], False
        for index, block in enumerate(self.blocks):
            x = block(x, mask, whole, None if store is None else store[index], start)
        return self.norm(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits of the tokens of slots, [..., size]."""
        return self.out(hidden)

    def after_begin(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what stands before the slots of ``tokens`` [B, T]."""
        first = tokens.new_full((len(tokens), 1), self.begin)
        return torch.cat([first, tokens[:, :-1]], 1)
