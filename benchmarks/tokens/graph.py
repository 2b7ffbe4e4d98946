# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole plan latency through the ROS graph, dense and composition in turn.

The graph is started several times, A, B, A, B and so on, each with its share of the episodes, so
that a machine that drifts drifts for both.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.job import Job
from benchmarks.tokens.cost import latency_columns
from efficient_vla.bench.compare import Outcomes, paired_columns
from efficient_vla.bench.graph_runner import GraphRequest, run_graph
from efficient_vla.bench.overrides import parse_overrides
from efficient_vla.bench.report import merged_stages
from efficient_vla.bringup.catalogue import NODE_SETTINGS
from efficient_vla.records import EpisodeResult, StageRecord
from efficient_vla.sim.episodes import jobs

STAGES = ('perception', 'reasoner')
SINGLE = 'actor.architecture=single'


def measure_graph(job: Job, composition: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row for dense and one for the composition, whose parameters are given."""
    sizes, display = job.sizes, job.display
    assert display is not None
    conditions = {'dense': (), 'composition': composition}
    results: dict[str, list[EpisodeResult]] = {name: [] for name in conditions}
    for block in blocks(jobs(sizes.tasks, job.seed, sizes.graph_episodes), sizes.graph_blocks):
        for name, words in conditions.items():
            request = GraphRequest(
                policy=job.policy,
                jobs=block,
                overrides=parse_overrides((SINGLE, *words), NODE_SETTINGS),
                hardware=job.hardware,
                episode_s=sizes.graph_s,
            )
            with display(len(block)) as observer:
                run_graph(request, observer)
            results[name] += observer.results
    dense = results['dense']
    return [
        {
            'name': name,
            'overrides': ' '.join(conditions[name]),
            **graph_columns(found, dense),
            'blocks': sizes.graph_blocks,
        }
        for name, found in results.items()
    ]


def blocks(episodes: Sequence[tuple[str, int]], count: int) -> list[list[tuple[str, int]]]:
    """Deal tasks and seeds out to ``count`` blocks, each with a share of every task."""
    dealt: list[list[tuple[str, int]]] = [[] for _ in range(count)]
    seeds = sorted({seed for _, seed in episodes})
    for task, seed in episodes:
        dealt[seeds.index(seed) % count].append((task, seed))
    return [block for block in dealt if block]


def graph_columns(
    results: Sequence[EpisodeResult], dense: Sequence[EpisodeResult]
) -> dict[str, Any]:
    """Return success and whole plan latency: the p50 of perception plus that of the reasoner."""
    mine, whole = merged_stages(results), merged_stages(dense)
    found: dict[str, Any] = {}
    for stage in STAGES:
        latency = mine[stage].latency_ms
        found |= latency_columns(stage, latency, whole[stage].latency_ms)
        found[f'{stage}_passes'] = len(latency)
    plan, reference = _plan_ms(mine, np.median), _plan_ms(whole, np.median)
    return {
        'plan_p50_ms': plan,
        'dense_plan_p50_ms': reference,
        'plan_ratio': plan / reference,
        'speed_up': reference / plan,
        'speed_up_of_means': _plan_ms(whole, np.mean) / _plan_ms(mine, np.mean),
        **found,
        **paired_columns(_outcomes(results), _outcomes(dense)),
    }


def _plan_ms(stages: Mapping[str, StageRecord], average: Callable[[Sequence[float]], Any]) -> float:
    return sum(float(average(stages[stage].latency_ms)) for stage in STAGES)


def _outcomes(results: Sequence[EpisodeResult]) -> Outcomes:
    return {(result.task, result.seed): result.success for result in results}
