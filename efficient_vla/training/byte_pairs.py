# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Fit the tokenizer ``fast`` to a policy's own actions."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, trainers

from efficient_vla.action.tokenizers.fast import (
    LETTER,
    LETTERS,
    FastTokenizer,
    coefficients,
    letters,
    scaled,
    scales,
)

RANGE = (0.01, 0.99)
"""Quantiles of the actions that are scaled to -1 and 1."""


def limits(chunks: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the range of each action in chunks [N, H, A] that tokens divide."""
    low, high = np.quantile(chunks.reshape(-1, chunks.shape[-1]), RANGE, axis=0)
    return low.tolist(), np.maximum(high, low + 1e-3).tolist()


def fit(
    chunks: torch.Tensor,
    low: list[float],
    high: list[float],
    scale: list[float],
    falloff: float,
    vocabulary: int,
) -> dict[str, Any]:
    """Return the keywords of the ``FastTokenizer`` of normalised chunks [N, H, A].

    ``vocabulary`` bounds symbols and byte pairs together. Raises ``ValueError`` for a range or a
    scale with which coefficients take more values than there are symbols.
    """
    horizon = chunks.shape[1]
    factors = scales(horizon, scale, falloff)
    found = coefficients(chunks, torch.tensor(low), torch.tensor(high), factors)
    smallest, symbols = int(found.min()), int(found.max() - found.min()) + 1
    if symbols > LETTERS:
        raise ValueError(
            f'coefficients take {symbols} values; expected at most {LETTERS}. Take a smaller '
            'scale, or a wider range of the actions.'
        )
    merges = _byte_pairs((row for row in found.tolist()), smallest, symbols, vocabulary)
    shape = {
        'horizon': horizon,
        'low': low,
        'high': high,
        'scale': scale,
        'falloff': falloff,
        'smallest': smallest,
        'symbols': symbols,
        'merges': merges,
        'largest': float(scaled(chunks, torch.tensor(low), torch.tensor(high)).abs().max()),
    }
    length = max(len(line) for line in FastTokenizer(**shape, length=0).encode(chunks))
    return {**shape, 'length': length}


def _byte_pairs(
    lines: Iterable[list[int]], smallest: int, symbols: int, vocabulary: int
) -> list[list[int]]:
    """Return the pairs that merge, in order, as numbers of tokens."""
    learned = Tokenizer(models.BPE())
    alphabet = [chr(LETTER + symbol) for symbol in range(symbols)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False
    )
    learned.train_from_iterator((letters(line, smallest) for line in lines), trainer)
    names = {name: token for token, name in enumerate(alphabet)}
    merges = []
    for left, right in json.loads(learned.to_str())['model']['merges']:
        merges.append([names[left], names[right]])
        names[left + right] = symbols + len(merges) - 1
    return merges
