# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Success under several conditions on the same scenes and seeds, in process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.stages import DENSE, VARIANTS
from efficient_vla.bench.compare import TOTAL, Outcomes, compare, outcomes
from efficient_vla.bench.evaluate import Request, evaluate
from efficient_vla.bench.overrides import parse_overrides
from efficient_vla.bench.report import success_summary
from efficient_vla.records import EpisodeResult
from efficient_vla.sim.metaworld.tasks import INSTRUCTIONS, TABLETOP_TASKS

NONSENSE = 'the quick brown fox jumps over the lazy dog'
"""None of its nouns and verbs is a word of the training sentences."""
OnResult = Callable[[EpisodeResult], None]


def techniques(
    request: Request, names: Sequence[str], on_result: OnResult | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a row for dense and for each technique of ``names`` alone, and dense's manifest."""
    rows: list[dict[str, Any]] = []
    reference: Outcomes = {}
    manifest: dict[str, Any] = {}
    for name in (DENSE, *(name for name in names if name != DENSE)):
        overrides = parse_overrides(VARIANTS[name])
        found = evaluate(
            replace(request, overrides=merged(request.overrides, overrides)), on_result
        )
        seen = outcomes(found)
        if not rows:
            reference, manifest = seen, found['manifest']
        paired = compare(reference, seen)[TOTAL]
        tasks = {task: row['success_rate'] for task, row in found['tasks'].items()}
        rows.append(
            {
                'technique': name,
                **success_summary(list(seen.values())),
                'only_dense': paired['only_first'],
                'only_technique': paired['only_second'],
                'p_value': paired['p_value'],
                **tasks,
            }
        )
    return rows, manifest


def instructions(
    request: Request, on_result: OnResult | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a row for each scene of ``request`` and sentence, and the manifest.

    A scene is asked for its own task, for every other task that its objects allow, and for
    nonsense. Success is always that of the scene's own task, so that another sentence should bring
    it down.
    """
    rows = []
    manifest: dict[str, Any] = {}
    for sentence, tasks in sentences(request.tasks):
        found = evaluate(replace(request, tasks=tasks, instruction=sentence), on_result)
        manifest = manifest or found['manifest']
        for task in tasks:
            seen = [item['success'] for item in found['episodes'] if item['task'] == task]
            asked = sentence or INSTRUCTIONS[task]
            rows.append(
                {
                    'scene': task,
                    'kind': kind(task, asked),
                    'sentence': asked,
                    **success_summary(seen),
                }
            )
    order = {task: index for index, task in enumerate(request.tasks)}
    return sorted(rows, key=lambda row: order[row['scene']]), manifest


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


def merged(
    first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the overrides of both; those of ``second`` win."""
    nodes = first.keys() | second.keys()
    return {node: {**first.get(node, {}), **second.get(node, {})} for node in nodes}
