# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Compare two evaluations episode by episode: the same tasks and seeds under two conditions."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from efficient_vla.errors import UsageError

Outcomes = dict[tuple[str, int], bool]
TOTAL = 'all'


def read_outcomes(path: Path) -> Outcomes:
    """Return (task, seed) -> success from the JSON file of ``efficient-vla eval``.

    Raises ``UsageError`` when the file is no such result.
    """
    try:
        return outcomes(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f'{path} is no result of `efficient-vla eval`: {type(error).__name__}: {error}.'
        ) from error


def outcomes(found: Mapping[str, Any]) -> Outcomes:
    """Return (task, seed) -> success of an evaluation."""
    return {(item['task'], item['seed']): bool(item['success']) for item in found['episodes']}


def compare(first: Outcomes, second: Outcomes) -> dict[str, dict[str, Any]]:
    """Return task -> rates of both, episodes that only one did, p value; ``all`` comes last.

    Episodes that only one of them has are left out. Raises ``UsageError`` if none is left.
    """
    shared = sorted(first.keys() & second.keys())
    if not shared:
        raise UsageError(
            'the results have no episode in common; evaluate the same tasks from the same --seed.'
        )
    tasks = list(dict.fromkeys(task for task, _ in shared))
    found = {task: _paired(first, second, [k for k in shared if k[0] == task]) for task in tasks}
    found[TOTAL] = _paired(first, second, shared)
    return found


def _paired(first: Outcomes, second: Outcomes, keys: list[tuple[str, int]]) -> dict[str, Any]:
    left, right = [first[key] for key in keys], [second[key] for key in keys]
    return {
        'pairs': len(keys),
        'first': sum(left) / len(keys),
        'second': sum(right) / len(keys),
        'only_first': sum(a and not b for a, b in zip(left, right, strict=True)),
        'only_second': sum(b and not a for a, b in zip(left, right, strict=True)),
        'p_value': mcnemar(left, right),
    }


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the exact two-sided p value of McNemar's test for paired successes.

    Pair ``i`` is the same task and seed under two conditions. Only pairs that differ say anything;
    without any the value is 1. Source: McNemar, 1947, with the exact binomial distribution.
    """
    if len(first) != len(second):
        raise ValueError(f'{len(first)} and {len(second)} outcomes; expected pairs.')
    only_first = sum(bool(a) and not b for a, b in zip(first, second, strict=True))
    only_second = sum(bool(b) and not a for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**discordant)
