# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Tensors of a checkpoint, read when they are asked for; what nobody asked for is refused."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from efficient_vla.errors import CheckpointError
from efficient_vla.headers import Entry, read_header
from efficient_vla.tensors import check_finite, read_numbers

COMPILED = re.compile(r'(^|\.)_orig_mod(?=\.)')
FLOATS = ('F64', 'F32', 'F16', 'BF16')
PIECE = 1 << 21
"""Numbers of a table that are looked at in one go."""
NAMED = 3
"""Names that a message lists."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor that was not read yet."""

    path: Path
    name: str
    """In the file."""
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]
    rows: Callable[[int, int], torch.Tensor] | None = None
    """First row, and the one after the last -> those rows of a table alone."""


def stored(path: Path) -> dict[str, Stored]:
    """Return what a safetensors file holds, by name; names of compiled modules as those of plain.

    Raises ``CheckpointError`` where it is missing or damaged.
    """
    found: dict[str, Stored] = {}
    for name, entry in read_header(path).items():

        def read(entry: Entry = entry) -> torch.Tensor:
            return read_numbers(path, entry).reshape(entry.shape)

        def rows(start: int, stop: int, entry: Entry = entry) -> torch.Tensor:
            width = entry.values // entry.shape[0]
            numbers = read_numbers(path, entry, start * width, (stop - start) * width)
            return numbers.reshape(stop - start, *entry.shape[1:])

        plain = COMPILED.sub('', name).removeprefix('.')
        if plain in found:
            raise CheckpointError(
                f'{path} holds {plain} twice, as {found[plain].name} and as {name}; expected it '
                'once. Save the policy again.'
            )
        found[plain] = Stored(path, name, entry.dtype, entry.shape, read, rows)
    return found


class Tensors(Mapping[str, torch.Tensor]):
    """Name -> tensor in float32, read on demand.

    ``at`` gives the tensors under a prefix. Whoever builds a module calls ``finish`` at the end.
    """

    def __init__(self, files: Mapping[str, Stored], prefix: str = '') -> None:
        self._files, self._prefix = files, prefix
        self._used: set[str] = set()
        self.idle: set[str] = set()
        """Names of all tensors that were declared to change no action."""

    def at(self, name: str) -> 'Tensors':
        """Return the tensors whose names begin with ``name`` and a point, without that."""
        part = Tensors(self._files, f'{self._prefix}{name}.')
        part._used, part.idle = self._used, self.idle
        return part

    def __getitem__(self, name: str) -> torch.Tensor:
        """Return a tensor in float32.

        Raises ``CheckpointError`` where it is missing, holds no floating point numbers, or some
        that are not finite.
        """
        entry = self._floats(name)
        tensor = entry.read().to(torch.float32)
        check_finite(entry.path, entry.name, tensor)
        return tensor

    def table(self, name: str) -> 'Table':
        """Return a table [N, D] whose rows are read when they are asked for.

        Raises ``CheckpointError`` as reading it whole would.
        """
        return Table(self._floats(name))

    def _floats(self, name: str) -> Stored:
        """Return a tensor of floating point numbers, and note that it is used."""
        entry = self._entry(name)
        if entry.dtype not in FLOATS:
            raise CheckpointError(
                f'{entry.path} holds {entry.name} as {entry.dtype}; expected one of '
                f'{", ".join(FLOATS)}. Save the policy as LeRobot does, without quantization.'
            )
        self._used.add(self._prefix + name)
        return entry

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """Return a tensor of this shape.

        Raises ``CheckpointError`` also where it has another one.
        """
        entry = self._entry(name)
        if entry.shape != shape:
            raise CheckpointError(
                f'{entry.path} holds {entry.name} of shape {list(entry.shape)}; expected '
                f'{list(shape)}, as config.json says. Use files of one training.'
            )
        return self[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without reading it."""
        return self._entry(name).shape

    def __contains__(self, name: object) -> bool:
        """Return whether there is a tensor of that name."""
        return f'{self._prefix}{name}' in self._files

    def __iter__(self) -> Iterator[str]:
        """Yield all names."""
        cut = len(self._prefix)
        return (name[cut:] for name in self._files if name.startswith(self._prefix))

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(1 for _ in self)

    def label(self, name: str) -> str:
        """Return where a tensor stands, for messages."""
        entry = self._entry(name)
        return f'{entry.path}: {entry.name}'

    def numbered(self) -> int:
        """Return how many modules 0, 1, 2, ... there are."""
        found = {name.split('.')[0] for name in self}
        return next(n for n in range(len(found) + 1) if str(n) not in found)

    def without_effect(self, patterns: Iterable[str]) -> None:
        """Declare tensors, by regular expressions of whole names, that change no action."""
        for pattern in patterns:
            self.idle |= {
                self._prefix + name for name in self if re.fullmatch(pattern, name) is not None
            }

    def finish(self) -> None:
        """Raise ``CheckpointError`` naming what was neither read nor declared without effect."""
        left = [self._files[name] for name in self._files if name not in self._used | self.idle]
        if left:
            names = ', '.join(entry.name for entry in left[:NAMED])
            more = f' and {len(left) - NAMED} more' if len(left) > NAMED else ''
            raise CheckpointError(
                f'{left[0].path} holds {names}{more}, which a policy as config.json describes it '
                'does not have. Use files of one training and of a version that LeRobot 0.6 reads.'
            )

    def _entry(self, name: str) -> Stored:
        entry = self._files.get(self._prefix + name)
        if entry is None:
            some = next(iter(self._files.values()), None)
            raise CheckpointError(
                f'{some.path if some else "the checkpoint"} lacks {self._prefix}{name}, which a '
                'policy as config.json describes it has. Use files of one training.'
            )
        return entry


class Table:
    """A table of which few rows are needed: it stays in its file."""

    def __init__(self, entry: Stored) -> None:
        """Look once at all numbers, since one that is not finite is refused before it is used."""
        self._entry, self.count = entry, entry.shape[0]
        if entry.rows is None:
            self._whole = entry.read().float()
            check_finite(entry.path, entry.name, self._whole)
            return
        step = max(1, PIECE // max(1, entry.shape[1]))
        for start in range(0, self.count, step):
            piece = entry.rows(start, min(start + step, self.count))
            check_finite(entry.path, entry.name, piece)

    def rows(self, numbers: Iterable[int]) -> torch.Tensor:
        """Return rows [n, D] in float32."""
        if self._entry.rows is None:
            return self._whole[list(numbers)]
        return torch.cat([self._entry.rows(row, row + 1) for row in numbers]).float()
