# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A sentence -> token ids, and after how many images each of them comes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from efficient_vla.errors import CheckpointError
from efficient_vla.prompts import BARE, prompt_of
from efficient_vla.types import InvalidRecordError

MAX_TEXT_TOKENS = 48
"""Tokens of the instruction that are read, as in SmolVLA; a longer one is refused, not cut."""


@dataclass(frozen=True, slots=True)
class Words:
    """Token ids of a prompt, without those of its images."""

    ids: torch.Tensor
    """int64 [L]."""
    after: torch.Tensor | None
    """Images before each, int64 [L]; ``None``: all of them."""
    sentence: torch.Tensor
    """Which of the L are the sentence, int64."""


def bare_words(tokenizer: Callable[..., Any], sentence: str) -> Words:
    """Return the sentence alone, in lower case."""
    ids = torch.tensor(tokenizer(sentence.strip().lower())['input_ids'], dtype=torch.int64)
    return Words(ids, None, torch.arange(len(ids)))


def prompt_words(
    tokenizer: Any, template: str, cameras: int, sentence: str, tiles: tuple[int, int] = (0, 0)
) -> Words:
    """Return a prompt around the sentence, as ``prompts`` says.

    Raises ``CheckpointError`` for a tokenizer without the marker of images, and
    ``InvalidRecordError`` for a sentence with such a marker.
    """
    if template == BARE:
        return bare_words(tokenizer, sentence)
    prompt = prompt_of(template, cameras, sentence.strip(), tiles)
    marker = tokenizer.get_vocab().get(prompt.marker)
    if marker is None:
        raise CheckpointError(
            f'tokenizer has no token {prompt.marker!r}, by which prompt {template} marks images. '
            'Use the tokenizer of the model, or another prompt.'
        )
    encoded = tokenizer(
        prompt.text,
        add_special_tokens=prompt.begun_by_tokenizer,
        return_offsets_mapping=True,
        return_tensors='pt',
    )
    ids = encoded['input_ids'][0]
    image = ids == marker
    if int(image.sum()) != prompt.images:
        raise InvalidRecordError(
            f'instruction {sentence!r} makes {int(image.sum())} images of {prompt.images}; '
            f'expected no {prompt.marker!r} in it. Say it in plain words.'
        )
    first, last = encoded['offset_mapping'][0].unbind(-1)
    inside = (first < prompt.sentence[1]) & (last > prompt.sentence[0])
    return Words(ids[~image], image.cumsum(0)[~image], inside[~image].nonzero()[:, 0])


def checked(words: Words, rows: int) -> Words:
    """Return words that a decoder with so many ``rows`` of embeddings can read.

    Raises ``InvalidRecordError`` for others.
    """
    count = len(words.sentence)
    if not 0 < count <= MAX_TEXT_TOKENS:
        raise InvalidRecordError(
            f'instruction has {count} tokens; expected 1 to {MAX_TEXT_TOKENS}. '
            'Say it in one short sentence.'
        )
    if int(words.ids.max()) >= rows:
        raise InvalidRecordError(
            f'instruction has token {int(words.ids.max())}; the decoder knows {rows}. '
            'Say it otherwise.'
        )
    return words
