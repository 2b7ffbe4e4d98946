# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a long benchmark: what a file holds already is not measured again."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from typing import Any, NamedTuple

from efficient_vla.bench.rows import read_rows


class Wanted(NamedTuple):
    """One row."""

    name: Mapping[str, str]
    """Columns by which it is found in the file."""
    wanted: Mapping[str, Any]
    """What decides about its numbers; a row of something else is replaced."""
    call: Callable[[], Mapping[str, Any]]
    """Measures it, and returns its other columns."""


def measure_missing(path: Path, every: Iterable[Wanted], columns: Set[str]) -> list[dict[str, Any]]:
    """Return all rows of a file, which is written after each that had to be measured.

    Raises ``UsageError`` where the file holds something else than rows with these ``columns``.
    """
    rows: list[dict[str, Any]] = []
    if path.exists():
        rows = read_rows(path, {'wanted', *columns}, 'Choose another file.')['rows']
    for name, wanted, call in every:
        same = [row for row in rows if name.items() <= row.items()]
        if same and same[0]['wanted'] == wanted:
            continue
        sys.stderr.write(f'{", ".join(name.values())}\n')
        made = {**name, **call(), 'wanted': wanted}
        rows = [*(row for row in rows if row not in same), made]
        path.write_text(json.dumps({'rows': rows}, indent=1) + '\n')
    return rows
