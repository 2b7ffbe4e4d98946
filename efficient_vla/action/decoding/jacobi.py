# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All tokens at once, again and again until nothing changes (PD-VLA, arXiv 2503.02310).

Each pass predicts every token from the ones of the pass before (Jacobi iteration). After pass k at
least k tokens are those of greedy decoding, so it ends, and it ends with the same line. Tokens that
are proved final leave the pass: their keys and values stay, and the next pass begins behind them.
"""

import torch

from efficient_vla.action.decoding import Decoded, Line
from efficient_vla.action.heads.token_decoder import TokenDecoder


def jacobi(
    decoder: TokenDecoder, features: torch.Tensor, end: int | None, max_passes: int = 0
) -> Decoded:
    """Return the tokens for features [1, F]; ``max_passes`` 0 goes on until nothing changes.

    With fewer passes the line may not be final, which ``settled`` of the result says.
    """
    condition, store = decoder.condition(features), decoder.store(len(features))
    line = torch.full((len(features), decoder.length), decoder.empty, device=features.device)
    known = passes = 0
    while known < decoder.length and (not max_passes or passes < max_passes):
        before = line[:, known - 1 : -1] if known else decoder.after_begin(line)
        hidden = decoder.hidden(before, condition, known, store)
        found = decoder.logits(hidden).argmax(-1)
        passes += 1
        # Slot known had only final tokens before it, and so has each after an unchanged one.
        same = int((found == line[:, known:]).all(0).long().cumprod(0).sum())
        line[:, known:] = found
        known = min(known + same + 1, decoder.length)
        if end is not None and bool((line[:, :known] == end).any(1).all()):
            return Decoded(line[:, :known], passes)
    return Decoded(line, passes, settled=known == decoder.length)


def decode(line: Line) -> Decoded:
    """Return the tokens of the line."""
    return jacobi(line.decoder, line.features, line.end)
