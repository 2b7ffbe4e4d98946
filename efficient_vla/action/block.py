# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the small transformers of heads are made of."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Self-attention and a two-layer network, without norms."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def attend(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        causal: bool = False,
        store: torch.Tensor | None = None,
        start: int = 0,
    ) -> torch.Tensor:
        """Return what every token [B, T, D] takes from the others.

        ``store`` [2, B, heads, L, D / heads] keeps keys and values: those of slots from ``start``
        on are written there, and those before it are read.
        """
        parts = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # [B, heads, T, D / heads] each
        if store is not None:
            stop = start + x.shape[1]
            store[0, :, :, start:stop] = key
            store[1, :, :, start:stop] = value
            key, value = store[0, :, :, :stop], store[1, :, :, :stop]
        mixed = functional.scaled_dot_product_attention(query, key, value, mask, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def think(self, x: torch.Tensor) -> torch.Tensor:
        """Return what every token makes of itself."""
        return self.narrow(functional.gelu(self.wide(x)))
