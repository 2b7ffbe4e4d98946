# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunks as tokens, and back."""

from typing import Protocol

import torch


class Tokenizer(Protocol):
    """Normalised chunks [B, H, A] <-> token ids below ``size``."""

    size: int
    """Tokens of the vocabulary."""
    shape: tuple[int, int]
    """Rows and numbers of a chunk."""
    length: int
    """Most tokens that a chunk takes, its end included where there is one."""

    @property
    def end(self) -> int | None:
        """Token that ends a chunk, where chunks have several lengths."""

    def encode(self, chunk: torch.Tensor) -> list[list[int]]:
        """Return the tokens of each chunk."""

    def decode(self, tokens: list[int]) -> tuple[torch.Tensor, str]:
        """Return the chunk [H, A] and what had to be mended, or an empty string."""
