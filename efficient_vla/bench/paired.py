# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Success of paired episodes as columns of a row."""

from typing import Any

from efficient_vla.bench.compare import TOTAL, Outcomes, compare
from efficient_vla.bench.report import wilson_interval


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
        'outcomes': written(seen),
    }


def written(seen: Outcomes) -> str:
    """Return outcomes as one word a task, such as ``reach-v3:1000:1101``, for a flat row."""
    words = []
    for task in dict.fromkeys(task for task, _ in seen):
        seeds = sorted(seed for name, seed in seen if name == task)
        words.append(f'{task}:{seeds[0]}:' + ''.join(str(int(seen[task, s])) for s in seeds))
    return ' '.join(words)


def read(text: str) -> Outcomes:
    """Return the outcomes that ``written`` wrote."""
    found: Outcomes = {}
    for word in text.split():
        task, first, marks = word.split(':')
        found.update({(task, int(first) + i): mark == '1' for i, mark in enumerate(marks)})
    return found
