# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A small draft guesses tokens, one pass of the decoder confirms them (Spec-VLA, arXiv 2507.22424).

A guess is taken while it is the decoder's own choice, or, relaxed, while it lies no more than
``accept`` bins from it: bins are ordered, so that is a bound on what each number may be off. With
``accept`` 0 the line is that of greedy decoding.
"""

import torch

from efficient_vla.action.decoding import Decoded
from efficient_vla.action.heads.token_decoder import TokenDecoder


def speculative(
    decoder: TokenDecoder, features: torch.Tensor, end: int | None, accept: int = 0
) -> Decoded:
    """Return the tokens for features [1, F].

    Raises ``ValueError`` for a batch, whose lines would go on at different slots.
    """
    if len(features) != 1:
        raise ValueError(f'speculative decoding of {len(features)} lines; expected one.')
    condition, store = decoder.condition(features), decoder.store(1)
    line: list[int] = [decoder.begin]
    guess: list[int] = []
    passes = drafted = accepted = 0
    while len(line) <= decoder.length:
        start = len(line) - 1
        guess = guess[: decoder.length - start - 1]
        before = torch.tensor([line[-1:] + guess], device=features.device)
        hidden = decoder.hidden(before, condition, start, store)
        chosen = decoder.logits(hidden)[0].argmax(-1).tolist()
        passes += 1
        taken = 0
        while taken < len(guess) and abs(guess[taken] - chosen[taken]) <= accept:
            taken += 1
        drafted, accepted = drafted + len(guess), accepted + taken
        fresh = guess[:taken] + chosen[taken : taken + 1]
        if end is not None and end in fresh:
            line += fresh[: fresh.index(end) + 1]
            break
        line += fresh
        said = decoder.embed(torch.tensor(line[-1:], device=features.device))
        guess = decoder.draft(hidden[0, taken : taken + 1], said)[0].argmax(-1).tolist()
    return Decoded(torch.tensor([line[1:]]), passes, drafted, accepted)
