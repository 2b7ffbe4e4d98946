# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The tokenizer FAST as it is published (arXiv 2501.09747), read from its JSON files alone.

A letter is a coefficient of the cosine transform, the lowest frequency of every action first, and
tokens are byte pairs over letters in UTF-8, so that only the whole line can be read.
"""

import torch
from tokenizers import Tokenizer

from efficient_vla.action.tokenizers.fast import REACH, line_of, within
from efficient_vla.action.tokenizers.univla import cosines
from efficient_vla.errors import CheckpointError
from efficient_vla.nora.folder import FAST_FILES, FastFolder

BROKEN = '\ufffd'
"""What bytes that make no letter become."""


class PublishedFast:
    """Tokens of FAST -> chunk [H, A] from -1 to 1."""

    def __init__(self, folder: FastFolder, horizon: int, actions: int) -> None:
        """Read byte pairs; chunks have ``horizon`` rows of ``actions``."""
        path = folder.path / FAST_FILES[0]
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing more precise
            raise CheckpointError(
                f'{path} is no tokenizer: {error}. Copy the file again.'
            ) from error
        self.size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.shape = (horizon, actions)
        self.scale, self.smallest = folder.scale, folder.smallest
        self.basis = cosines(horizon, horizon)

    def decode(self, tokens: list[int]) -> tuple[torch.Tensor, str]:
        """Return the chunk [H, A] and what was mended in it.

        Raises ``InvalidRecordError`` where not even the lowest frequency of every action is there.
        NORA's own script stands still then, and where a coefficient is missing or too many.
        """
        text = self._tokenizer.decode(tokens, skip_special_tokens=False)
        whole, broken, _ = text.partition(BROKEN)
        values = [ord(letter) + self.smallest for letter in whole]
        line, note = line_of(values, self.shape, len(tokens))
        share, limited = within(torch.einsum('ch,ca->ha', self.basis, line / self.scale), REACH)
        odd = 'tokens made no letter: what follows is left out' if broken else ''
        return share, '; '.join(part for part in (odd, note, limited) if part)
