# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Uniform bins: one token for every number of the chunk (RT-2, arXiv 2307.15818)."""

import torch


class BinTokenizer:
    """Chunk [H, A] <-> H x A tokens, row after row; the middle of its bin is what a token means."""

    end: int | None = None

    def __init__(self, horizon: int, low: list[float], high: list[float], bins: int = 256) -> None:
        """Divide ``low`` to ``high`` of each action into ``bins``; the outermost take the rest."""
        self.shape = (horizon, len(low))
        self.size, self.length = bins, horizon * len(low)
        self.low, self.high = torch.tensor(low), torch.tensor(high)

    def encode(self, chunk: torch.Tensor) -> list[list[int]]:
        """Return the tokens of normalised chunks [B, H, A]."""
        share = (chunk - self.low) / (self.high - self.low)
        return (share * self.size).floor().long().clamp(0, self.size - 1).flatten(1).tolist()

    def decode(self, tokens: list[int]) -> tuple[torch.Tensor, str]:
        """Return the chunk [H, A]; a token that is no bin is taken as the nearest one.

        Raises ``ValueError`` for another number of tokens.
        """
        if len(tokens) != self.length:
            raise ValueError(f'{len(tokens)} tokens; expected {self.length} for {self.shape}.')
        share = (torch.tensor(tokens).clamp(0, self.size - 1) + 0.5) / self.size
        return self.low + share.view(self.shape) * (self.high - self.low), ''
