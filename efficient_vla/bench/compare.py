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
Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


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


def paired_columns(
    seen: Outcomes, reference: Outcomes, name: str = 'dense', mine: str = 'method'
) -> dict[str, Any]:
    """Return rate, interval and the pairs that differ from ``reference``, by exact McNemar test.

    Columns of the reference have its ``name`` in theirs, and ``mine`` stands for what was measured.
    """
    successes, count = sum(seen.values()), len(seen)
    low, high = wilson_interval(successes, count)
    tasks = compare(reference, seen)
    total = tasks.pop(TOTAL)
    return {
        'success_rate': successes / count,
        'ci_low': low,
        'ci_high': high,
        'episodes': count,
        f'{name}_success_rate': total['first'],
        'pairs': total['pairs'],
        f'only_{name}': total['only_first'],
        f'only_{mine}': total['only_second'],
        'p_value': total['p_value'],
        **{f'success {task}': row['second'] for task, row in tasks.items()},
        'outcomes': packed(seen),
    }


def packed(seen: Outcomes) -> str:
    """Return outcomes as one word a task, such as ``reach-v3:1000:1101``, for a flat row."""
    words = []
    for task in dict.fromkeys(task for task, _ in seen):
        seeds = sorted(seed for name, seed in seen if name == task)
        words.append(f'{task}:{seeds[0]}:' + ''.join(str(int(seen[task, s])) for s in seeds))
    return ' '.join(words)


def unpacked(text: str) -> Outcomes:
    """Return the outcomes that ``packed`` wrote."""
    found: Outcomes = {}
    for word in text.split():
        task, first, marks = word.split(':')
        found.update({(task, int(first) + i): mark == '1' for i, mark in enumerate(marks)})
    return found


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate.

    Unlike the normal approximation it stays inside [0, 1] and is not empty at 0 % or 100 %.
    Without trials nothing is known, so the interval is (0, 1). Source: Wilson, 1927.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f'{successes} successes of {trials} trials; expected 0 to {trials}.')
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


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
