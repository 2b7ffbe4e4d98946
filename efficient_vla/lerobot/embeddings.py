# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Embeddings of words, looked up in the file: a sentence needs a few rows of a large table."""

import torch

from efficient_vla.lerobot.weights import Table
from efficient_vla.types import InvalidRecordError


class Embeddings:
    """Token ids [L] -> what enters the language model [L, D]."""

    def __init__(self, table: Table, scale: float) -> None:
        """Use a table of the model, which multiplies words by ``scale``."""
        self.table, self.scale = table, scale
        self._known: tuple[tuple[int, ...], torch.Tensor] | None = None

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings; those of the last sentence are kept.

        Raises ``InvalidRecordError`` for a token that the table lacks.
        """
        wanted = tuple(ids.tolist())
        if self._known is None or self._known[0] != wanted:
            if max(wanted, default=0) >= self.table.count:
                raise InvalidRecordError(
                    f'the instruction has token {max(wanted)}; the language model knows '
                    f'{self.table.count}. Use the tokenizer of its own model.'
                )
            self._known = wanted, self.table.rows(wanted) * self.scale
        return self._known[1].to(ids.device)
