# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train the byte-level BPE tokenizer of a small policy."""

from collections.abc import Iterable

from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast


def train_tokenizer(sentences: Iterable[str], size: int = 768) -> PreTrainedTokenizerFast:
    """Return a tokenizer of at most ``size`` tokens; bytes are its alphabet, so none is unknown."""
    bpe = ByteLevelBPETokenizer(lowercase=True)
    bpe.train_from_iterator(
        sentences, vocab_size=size, min_frequency=2, special_tokens=['<pad>'], show_progress=False
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, pad_token='<pad>')
