# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Success under several conditions on the same scenes and seeds, in process."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.stages import DENSE, VARIANTS
from efficient_vla import unfinished
from efficient_vla.bench.compare import TOTAL, Outcomes, compare, outcomes
from efficient_vla.bench.evaluate import Request, evaluate
from efficient_vla.bench.overrides import merged, parse_overrides
from efficient_vla.bench.report import success_summary
from efficient_vla.records import EpisodeResult
from efficient_vla.sim.metaworld.tasks import INSTRUCTIONS, TABLETOP_TASKS

NONSENSE = 'the quick brown fox jumps over the lazy dog'
"""None of its nouns and verbs is a word of the training sentences."""
OnResult = Callable[[EpisodeResult], None]


def techniques(
    request: Request, names: Sequence[str], on_result: OnResult | None = None
) -> dict[str, Any]:
    """Return ``rows``, for dense and each technique of ``names`` alone, and dense's manifest."""
    whole: dict[str, Any] = {}
    reference: Outcomes = {}
    with unfinished.carrying(lambda: whole):
        for name in (DENSE, *(name for name in names if name != DENSE)):
            overrides = merged(request.overrides, parse_overrides(VARIANTS[name]))
            found = evaluate(replace(request, overrides=overrides), on_result)
            seen = outcomes(found)
            reference = reference or seen
            paired = compare(reference, seen)[TOTAL]
            row = {
                'technique': name,
                **success_summary(list(seen.values())),
                'only_dense': paired['only_first'],
                'only_technique': paired['only_second'],
                'p_value': paired['p_value'],
                **{task: of_task['success_rate'] for task, of_task in found['tasks'].items()},
            }
            whole.setdefault('rows', []).append(row)
            whole.setdefault('manifest', found['manifest'])
    return whole


def instructions(request: Request, on_result: OnResult | None = None) -> dict[str, Any]:
    """Return ``rows``, for each scene of ``request`` and sentence, and the manifest.

    A scene is asked for its own task, for every other task that its objects allow, and for
    nonsense. Success is always that of the scene's own task, so that another sentence should bring
    it down.
    """
    whole: dict[str, Any] = {}
    with unfinished.carrying(lambda: whole):
        for sentence, tasks in sentences(request.tasks):
            found = evaluate(replace(request, tasks=tasks, instruction=sentence), on_result)
            whole.setdefault('manifest', found['manifest'])
            for task in tasks:
                seen = [item['success'] for item in found['episodes'] if item['task'] == task]
                asked = sentence or INSTRUCTIONS[task]
                row = {'scene': task, 'kind': kind(task, asked), 'sentence': asked}
                whole.setdefault('rows', []).append({**row, **success_summary(seen)})
    whole['rows'].sort(key=lambda row: request.tasks.index(row['scene']))
    return whole


def sentences(tasks: tuple[str, ...]) -> list[tuple[str | None, tuple[str, ...]]]:
    """Return each sentence (``None``: the scene's own) with the scenes that are asked for it."""
    pairs: list[tuple[str | None, tuple[str, ...]]] = [(None, tasks)]
    for other in TABLETOP_TASKS:
        scenes = tuple(task for task in tasks if task in TABLETOP_TASKS and task != other)
        if scenes:
            pairs.append((INSTRUCTIONS[other], scenes))
    return [*pairs, (NONSENSE, tasks)]


def kind(task: str, sentence: str) -> str:
    """Return 'own', 'other task' or 'nonsense'."""
    if sentence == NONSENSE:
        return 'nonsense'
    return 'own' if sentence == INSTRUCTIONS[task] else 'other task'
