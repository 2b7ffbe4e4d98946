# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Fields of a JSON object that a policy needs, checked where they are read; others are ignored."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from efficient_vla.errors import CheckpointError

REQUIRED: Any = object()
LARGEST = 1 << 20


class Fields:
    """The values of a file, or of an object in it."""

    def __init__(self, path: Path, values: Any, where: str = '') -> None:
        """Take the object ``values``; ``where`` it stands in the file, for messages."""
        self.path, self._where = path, where
        if not isinstance(values, Mapping):
            raise self.error(where or 'it', values, 'an object')
        self.values: Mapping[str, Any] = values

    def error(self, name: str, value: Any, expected: str) -> CheckpointError:
        """Return the error of a value that cannot be."""
        said = repr(value)
        said = said if len(said) < 200 else f'{said[:200]}...'
        return CheckpointError(
            f'{self.path} does not fit: {name} is {said}; expected {expected}. '
            'Use a folder that LeRobot wrote, and copy it whole.'
        )

    def raw(self, name: str, default: Any = REQUIRED) -> Any:
        """Return a value as it stands."""
        if name in self.values:
            return self.values[name]
        if default is REQUIRED:
            raise CheckpointError(
                f'{self.path} has no {self._place(name)}. Use a folder that LeRobot wrote, and '
                'copy it whole.'
            )
        return default

    def integer(self, name: str, default: Any = REQUIRED, low: int = 1, high: int = LARGEST) -> int:
        """Return a whole number from ``low`` to ``high``."""
        value = self.raw(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(self._place(name), value, f'a whole number from {low} to {high}')
        return value

    def number(
        self, name: str, default: Any = REQUIRED, low: float = -math.inf, high: float = math.inf
    ) -> float:
        """Return a finite number from ``low`` to ``high``."""
        value = self.raw(name, default)
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if not known or not math.isfinite(value) or not low <= value <= high:
            raise self.error(self._place(name), value, f'a number from {low} to {high}')
        return float(value)

    def flag(self, name: str, default: Any = REQUIRED) -> bool:
        """Return true or false; where LeRobot declares an int, its trainer writes 1 or 0."""
        value = self.raw(name, default)
        if not isinstance(value, int) or value not in (0, 1):
            raise self.error(self._place(name), value, 'true or false')
        return bool(value)

    def word(self, name: str, default: Any = REQUIRED, choices: Sequence[str] = ()) -> str:
        """Return a word, one of ``choices`` where there are any."""
        value = self.raw(name, default)
        if not isinstance(value, str) or (choices and value not in choices):
            raise self.error(self._place(name), value, ' or '.join(choices) or 'a word')
        return value

    def integers(self, name: str, count: int | None = None, low: int = 1) -> tuple[int, ...]:
        """Return a list of whole numbers, ``count`` of them."""
        value = self.raw(name)
        fits = isinstance(value, list) and (count is None or len(value) == count) and value
        if not fits or any(type(item) is not int or item < low for item in value):
            number = 'a list of' if count is None else count
            raise self.error(self._place(name), value, f'{number} whole numbers from {low} up')
        return tuple(value)

    def words(self, name: str, default: Any = REQUIRED) -> tuple[str, ...]:
        """Return a list of words."""
        value = self.raw(name, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self.error(self._place(name), value, 'a list of words')
        return tuple(value)

    def part(self, name: str, default: Any = REQUIRED) -> 'Fields':
        """Return the object under a name."""
        return Fields(self.path, self.raw(name, default), self._place(name))

    def refuse(self, name: str, *allowed: Any, why: str) -> None:
        """Raise ``CheckpointError`` unless a field is absent or has one of the values."""
        value = self.values.get(name, allowed[0])
        if value not in allowed:
            raise CheckpointError(
                f'{self.path} has {self._place(name)} {value!r}; expected {allowed[0]!r}: {why}.'
            )

    def _place(self, name: str) -> str:
        return f'{self._where}.{name}' if self._where else name
