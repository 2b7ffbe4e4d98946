# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The tokenizer that a policy names but its folder does not hold: where it lies, and its ids."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.hub import cache_folders, cached
from efficient_vla.lerobot.vlm_heads import OWN

FILES = 'tokenizer.json', 'tokenizer_config.json'
PADDING = 64
"""Tokens, as for images, that may have no embedding."""

REMEDY = 'Copy both files of the tokenizer that the policy was trained with.'


def find(name: str, folder: Path, given: str = '') -> Path | None:
    """Return the folder with the files of the tokenizer ``name``, or ``None``.

    ``given`` is a folder that a person names; then the policy's own, a path, and the cache follow.
    """
    if given:
        places: list[Path | None] = [Path(given).expanduser()]
    else:
        places = [folder, folder / OWN, Path(name).expanduser(), cached(name)]
    for place in places:
        if place is not None and (place / FILES[0]).is_file():
            return place
    return None


def load(name: str, folder: Path, given: str = '') -> 'TaskTokenizer':
    """Return the tokenizer ``name``.

    Raises ``CheckpointError`` saying which files to copy where it is not on this machine.
    """
    found = find(name, folder, given)
    if found is None:
        where = given or f'{folder}, nor {name} in {cache_folders()[0]}'
        raise CheckpointError(
            f'the tokenizer {name} is not in {where}. Copy {FILES[0]} and {FILES[1]} of {name} '
            f'into {folder}, or name their folder by the parameter tokenizer.'
        )
    return TaskTokenizer(found)


class TaskTokenizer:
    """Text -> token ids."""

    def __init__(self, folder: Path) -> None:
        """Read both files of a tokenizer."""
        path = folder / FILES[0]
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing more precise
            raise CheckpointError(
                f'{path} is no tokenizer: {error}. Copy the file again.'
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.path = path
        self._config_path = folder / FILES[1]
        self._config = read_json(self._config_path)

    def check(self, rows: int, begin: str = '', needed: Sequence[str] = ()) -> None:
        """Raise ``CheckpointError`` where it is not that of a model with so many ``rows``.

        ``begin`` is the role of the token before every text, ``needed`` are those of others that
        the model has. An added token, as for images, may have no row while no text has it; rows
        that no token has are padding.
        """
        plain, size = (
            max(self._tokenizer.get_vocab(with_added_tokens=added).values(), default=-1) + 1
            for added in (False, True)
        )
        special = [self.special(name) for name in needed]
        first = [self.special(begin)] if begin else []
        if max(plain - 1, *special, *first) >= rows or size - rows > PADDING:
            raise CheckpointError(
                f'{self.path} has {size} tokens; the policy has embeddings of {rows}. {REMEDY}'
            )
        before = self.ids('')
        if before != first:
            raise CheckpointError(
                f'{self.path} begins every text with the tokens {before}; expected {first}. '
                f'{REMEDY}'
            )

    def ids(self, text: str, limit: int | None = None) -> list[int]:
        """Return the ids of a text, cut after ``limit``, with what its template adds."""
        if limit is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(limit)
        found: list[int] = self._tokenizer.encode(text).ids
        return found

    def special(self, name: str) -> int:
        """Return the id of a token with a role, such as ``pad_token`` or ``fake_image_token``.

        Raises ``CheckpointError`` where the tokenizer has none.
        """
        roles: dict[str, Any] = dict(self._config)
        for more in ('extra_special_tokens', 'model_specific_special_tokens'):
            if isinstance(self._config.get(more), dict):
                roles |= self._config[more]
        token = roles.get(name)
        token = token.get('content') if isinstance(token, dict) else token
        found = self._tokenizer.token_to_id(token) if isinstance(token, str) else None
        if found is None:
            raise CheckpointError(
                f'{self._config_path} names {token!r} as {name}; expected a token of '
                f'{self.path.name}. {REMEDY}'
            )
        return int(found)
