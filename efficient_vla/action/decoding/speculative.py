# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A draft of the whole line, confirmed by passes of the decoder (Spec-VLA, arXiv 2507.22424).

A guess is taken while it is the decoder's own choice, or, relaxed, while it lies no more than
``accept`` bins from it: bins are ordered, so that is a bound on what each number may be off. With
``accept`` 0 the line is that of greedy decoding. Spec-VLA asks its draft again after each refusal;
here the pass that refuses a guess has named all tokens behind it as well, and they are the next
guesses, so that a draft is made once.
"""

import torch

from efficient_vla.action.decoding import Decoded, Line


def decode(line: Line) -> Decoded:
    """Return the tokens of the line, of which its draft is a guess of any length.

    Raises ``ValueError`` for a batch, whose lines would go on at different slots.
    """
    features = line.features
    if len(features) != 1:
        raise ValueError(f'speculative decoding of {len(features)} lines; expected one.')
    decoder, end = line.decoder, line.end
    condition, store = decoder.condition(features), decoder.store(1)
    said, guess = [decoder.begin], list(line.draft())
    passes = drafted = accepted = 0
    while len(said) <= decoder.length:
        start = len(said) - 1
        guess = guess[: decoder.length - start - 1]
        before = torch.tensor([said[-1:] + guess], device=features.device)
        hidden = decoder.hidden(before, condition, start, store)
        chosen = decoder.logits(hidden)[0].argmax(-1).tolist()
        passes += 1
        taken = 0
        while taken < len(guess) and abs(guess[taken] - chosen[taken]) <= line.accept:
            taken += 1
        drafted, accepted = drafted + len(guess), accepted + taken
        fresh = guess[:taken] + chosen[taken : taken + 1]
        if end is not None and end in fresh:
            said += fresh[: fresh.index(end) + 1]
            break
        said += fresh
        guess = chosen[taken + 1 :]
    return Decoded(torch.tensor([said[1:]], device=features.device), passes, drafted, accepted)
