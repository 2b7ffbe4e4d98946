# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a benchmark of several parts: written after each configuration, found again by key."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import InvalidRecordError

REFUSALS = (InvalidSettingError, InvalidRecordError, CheckpointError)
"""What a configuration that cannot work raises."""
REFUSED = 'refused'
"""Column of a configuration that could not run, with the reason; it is tried again."""


def row_key(part: str, **config: Any) -> str:
    """Return what names a configuration: its part, a hash of all that decides, and its checkpoint.

    No commit is in it, so that rows survive an edit of the source.
    """
    said = json.dumps(config, sort_keys=True, separators=(',', ':'))
    digest = hashlib.sha256(said.encode()).hexdigest()[:12]
    return f'{part} {digest} {config.get("checkpoint", "")}'.rstrip()


class Rows:
    """The rows of one output file, in the order in which they were first measured."""

    def __init__(self, path: Path, manifest: Mapping[str, Any], resume: bool) -> None:
        """Begin empty, or with the rows that the file has where ``resume`` asks for it.

        Raises ``UsageError`` when the file is there and is no such result.
        """
        self.path = path
        self.manifest = dict(manifest)
        """That of the last run that measured something."""
        self._now = dict(manifest)
        self._rows: dict[str, dict[str, Any]] = {}
        remedy = 'Choose another file, or leave --resume out to begin anew.'
        if resume and path.exists() and path.stat().st_size:
            found = read_rows(path, {'part', 'key'}, remedy)
            self._rows = {row['key']: row for row in found['rows']}
            self.manifest = found.get('manifest', self.manifest)

    def done(self, key: str, column: str = 'key') -> bool:
        """Return whether the configuration was measured, and has the column."""
        row = self._rows.get(key, {})
        return column in row and REFUSED not in row

    def get(self, key: str) -> dict[str, Any]:
        """Return a measured row."""
        return self._rows[key]

    def of(self, part: str) -> list[dict[str, Any]]:
        """Return all rows of one part."""
        return [row for row in self._rows.values() if row['part'] == part]

    def every(self) -> list[dict[str, Any]]:
        """Return all rows."""
        return [*self._rows.values()]

    def add(self, part: str, key: str, **values: Any) -> None:
        """Take in one row and write the file; numbers that are not finite become null."""
        self.add_all(part, {key: values})

    def extend(self, part: str, key: str, **values: Any) -> None:
        """Take in more columns of one row, which need not be there yet, and write the file."""
        before = self._rows.get(key, {})
        own = {'part', 'commit', 'key', REFUSED}
        self.add(part, key, **{k: v for k, v in before.items() if k not in own} | values)

    def measure(
        self,
        part: str,
        key: str,
        call: Callable[[], Mapping[str, Any]],
        required: bool = False,
        **described: Any,
    ) -> None:
        """Take in the columns that ``call`` returns, or the reason for which it was refused.

        What is ``required``, because others are compared with it, raises that instead.
        """
        try:
            found = call()
        except REFUSALS as error:
            if required:
                raise
            found = {REFUSED: str(error)}
        self.extend(part, key, **described, **found)

    def add_all(self, part: str, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Take in rows that belong together, by key: the file gets all of them or none."""
        self.manifest = self._now
        commit = str(self.manifest.get('git_commit', ''))[:12]
        for key, values in found.items():
            taken = values.keys() & {'part', 'commit', 'key'}
            if taken:
                raise ValueError(f"a row of {part} has {sorted(taken)}, which are the file's own.")
            row = {'part': part, **values, 'commit': commit, 'key': key}
            self._rows[key] = {name: _plain(value) for name, value in row.items()}
        self.write()

    def write(self) -> None:
        """Write the file at once, so that a run that is interrupted leaves whole rows."""
        text = json.dumps({'rows': self.every(), 'manifest': self.manifest}, indent=1)
        unfinished = self.path.with_name(self.path.name + '.part')
        unfinished.write_text(text + '\n')
        os.replace(unfinished, self.path)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if not isinstance(value, (str, int, bool, type(None))):
        raise TypeError(f'{value!r} in a row; expected a plain number or text, rows are flat.')
    return value


def read_rows(path: Path, columns: Set[str], remedy: str) -> dict[str, Any]:
    """Return what a file holds whose ``rows`` have these columns.

    Raises ``UsageError`` with the ``remedy`` where it is no such result.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        if not all(columns <= row.keys() for row in found['rows']):
            raise ValueError(f'rows without {", ".join(sorted(columns))}')
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f'{path} holds no rows of this benchmark: {error}. {remedy}') from error
    return found
