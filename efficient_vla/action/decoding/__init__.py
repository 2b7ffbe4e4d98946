# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Ways to get a line of tokens out of a decoder: one file a way, listed in ``catalogue.py``.

``decode(line)`` of each returns what it found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from efficient_vla.action.heads.token_decoder import TokenDecoder


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


@dataclass(frozen=True, slots=True)
class Line:
    """What a line is decoded from; a way takes of it what it needs."""

    decoder: TokenDecoder
    features: torch.Tensor
    """[1, F]."""
    end: int | None
    draft: Callable[[], Sequence[int]]
    """Gives a guess of the line, in the tokens of the decoder."""
    accept: int
    max_passes: int
