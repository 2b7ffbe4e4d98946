# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One token after the other, the likeliest each time: what exact decodings have to equal."""

import torch

from efficient_vla.action.decoding import Decoded, Line
from efficient_vla.action.heads.token_decoder import TokenDecoder


def greedy(decoder: TokenDecoder, features: torch.Tensor, end: int | None) -> Decoded:
    """Return the greedy tokens for features [B, F], one pass a token.

    Stops when all lines of the batch have said ``end``, where there is one.
    """
    condition, store = decoder.condition(features), decoder.store(len(features))
    token = torch.full((len(features), 1), decoder.begin, device=features.device)
    ended = torch.zeros_like(token, dtype=torch.bool)
    tokens = []
    for slot in range(decoder.length):
        hidden = decoder.hidden(token, condition, slot, store)
        token = decoder.logits(hidden).argmax(-1)
        tokens.append(token)
        if end is not None:
            ended |= token == end
            if bool(ended.all()):
                break
    return Decoded(torch.cat(tokens, 1), len(tokens))


def decode(line: Line) -> Decoded:
    """Return the tokens of the line."""
    return greedy(line.decoder, line.features, line.end)
