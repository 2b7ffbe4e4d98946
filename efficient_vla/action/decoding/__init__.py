# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Ways to get a line of tokens out of a decoder."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Decoded:
    """A line of tokens, and what it took."""

    tokens: torch.Tensor
    """int64, [B, T]; after an end they mean nothing."""
    passes: int
    """Passes through the decoder."""
    drafted: int = 0
    """Guesses that were put before the decoder."""
    accepted: int = 0
    """Those of them that were taken."""
    settled: bool = True
    """Whether the line is final; false where passes ran out before."""
