# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Names, types and shapes in a safetensors file, read without its weights and without torch."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from efficient_vla.errors import CheckpointError

LENGTH_BYTES = 8
LONGEST_HEADER = 100_000_000
"""Bytes; the limit of safetensors itself."""


class Entry(NamedTuple):
    """What a file says of one tensor."""

    dtype: str
    """As safetensors writes it: F32, BF16, I64."""
    shape: tuple[int, ...]
    size: int
    """Bytes."""
    start: int
    """Byte of the file at which its numbers begin."""

    @property
    def values(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, Entry]:
    """Return what a safetensors file holds, by name.

    Raises ``CheckpointError`` where the file is missing, truncated or something else.
    """
    try:
        size = path.stat().st_size
        with path.open('rb') as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), 'little')
            if not 0 < length <= min(LONGEST_HEADER, size - LENGTH_BYTES):
                raise ValueError(f'{size} bytes hold no header of {length}')
            found = json.loads(file.read(length))
        found.pop('__metadata__', None)
        begin = LENGTH_BYTES + length
        entries = {name: _entry(said, begin) for name, said in found.items()}
    except FileNotFoundError as error:
        raise CheckpointError(f'{path} is missing. Copy the whole checkpoint folder.') from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(_damaged(path, f'{type(error).__name__}: {error}')) from error
    expected = LENGTH_BYTES + length + sum(entry.size for entry in entries.values())
    if size != expected:
        raise CheckpointError(_damaged(path, f'it has {size} bytes, its header says {expected}'))
    return entries


def _entry(said: dict[str, Any], start: int) -> Entry:
    begin, end = said['data_offsets']
    return Entry(str(said['dtype']), tuple(map(int, said['shape'])), end - begin, start + begin)


def _damaged(path: Path, why: str) -> str:
    return f'{path} cannot be read: {why}. The file is truncated or not safetensors; copy it again.'
