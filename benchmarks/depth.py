# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Ways to run fewer layers of a policy, side by side: CPU time, FLOPs and success.

``python -m benchmarks.depth --out FILE`` lets all see the same recorded frames in turn, in one
process, and then play the same episodes, whose success is paired with that of all layers. CPU time
is that of the process, so that other work on the machine counts for little. A run that was
interrupted goes on where it stopped.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.compute.decisions import load
from benchmarks.job import Condition, Job, Sizes
from benchmarks.tokens.latency import RecordedScene, turns
from efficient_vla.bench.compare import paired_columns, unpacked
from efficient_vla.bench.evaluate import Worker
from efficient_vla.bench.manifest import manifest
from efficient_vla.bench.rows import Rows, row_key
from efficient_vla.engines import store
from efficient_vla.policy import Policy, default_policy
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.prefix import Prefix

DEPTH = 'reasoner.depth'
DENSE = 'dense'
WAYS: dict[str, dict[str, Any]] = {
    DENSE: {},
    'truncate': {'method': 'truncate', 'share': 0.5},
    'similarity_skip': {'method': 'similarity_skip', 'share': 0.5},
    'early_exit 0.5': {'method': 'early_exit', 'budget': 0.5},
    'early_exit 0.6': {'method': 'early_exit', 'budget': 0.6},
    'early_exit 0.7': {'method': 'early_exit', 'budget': 0.7},
    'mole': {'method': 'mole', 'share': 0.5},
    'mole 0.75': {'method': 'mole', 'share': 0.75},
    'student': {'method': 'student'},
}
"""Name -> parameters of ``reasoner.depth``."""


class Counted:
    """A reasoner, and what each of its passes cost as a share of the FLOPs of all layers."""

    def __init__(self, reasoner: Any) -> None:
        self._reasoner, self.costs = reasoner, []  # type: Any, list[float]
        self._whole: dict[int, int] = {}
        """Rows of a prefix -> FLOPs of all of its layers."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reasoner, name)

    def plan(self, *given: Any) -> Any:
        """Plan, and note the cost: of an early exit what it says, else the share of the layers.

        Of a prefix, whose layers also give keys and values alone, FLOPs are counted.
        """
        trunk = self._reasoner.trunk
        if isinstance(trunk, Prefix):
            with FlopCounterMode(display=False) as spent:
                made = self._reasoner.plan(*given)
            self.costs.append(spent.get_total_flops() / self._dense(trunk, made.cache.length))
            return made
        made = self._reasoner.plan(*given)
        skipped = len(trunk.route.skipped) if trunk.route is not None else 0
        share = (len(trunk.numbers) - skipped) / trunk.depth
        said = getattr(trunk.route, 'cost', None)
        self.costs.append(share if said is None else said)
        return made

    def _dense(self, trunk: Prefix, rows: int) -> int:
        if rows not in self._whole:
            blank = torch.zeros(1, rows, trunk.token_width)
            mask = torch.ones(1, 1, rows, rows, dtype=torch.bool)
            nowhere = torch.zeros(0, dtype=torch.int64)
            sequence = runner.Sequence(blank, torch.arange(rows)[None], mask, nowhere, nowhere)
            with torch.inference_mode(), FlopCounterMode(display=False) as spent:
                runner.run_keeping(trunk.parts, sequence)
            self._whole[rows] = spent.get_total_flops()
        return self._whole[rows]


def cpu_times(
    variants: Mapping[str, Policy], scenes: Sequence[RecordedScene]
) -> dict[str, list[float]]:
    """Return the CPU time [ms] of each pass of the reasoner of all variants, in turn."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for name, scene, index, counted in turns(variants, scenes):
        stages, frame = variants[name], scene.frames[index]
        for stamp, state in scene.states[index]:
            stages.reasoner.observe(state, stamp)
        tokens = stages.perception.encode(frame)
        assert tokens is not None
        started = time.process_time()
        stages.reasoner.plan(tokens, scene.instruction)
        if counted:
            found[name].append((time.process_time() - started) * 1e3)
    return found


def play(job: Job, words: Sequence[str]) -> dict[str, Any]:
    """Return the outcomes of all episodes, and what the passes cost in the mean."""
    request = job.request(words)
    with closing(Worker(request)) as worker:
        counted = Counted(worker.stages.reasoner)
        worker.stages.reasoner = counted
        results = [worker.run(task, seed) for task, seed in request.jobs()]
    outcomes = {(result.task, result.seed): result.success for result in results}
    return {
        'outcomes': outcomes,
        'passes': len(counted.costs),
        'flops_share': float(np.mean(counted.costs)),
    }


def measure(job: Job, rows: Rows, names: Sequence[str]) -> None:
    """Measure all ways that lack something."""
    ways = [
        Condition(name, tuple(f'{DEPTH}.{key}={value}' for key, value in WAYS[name].items()))
        for name in names
    ]
    keys = {way.name: row_key('depth', overrides=way.words, **job.played) for way in ways}
    keyed = [(way, keys[way.name], {'policy': job.policy.name}) for way in ways]

    @cache
    def times() -> dict[str, list[float]]:
        return cpu_times({way.name: load(job.policy, way.words) for way in ways}, job.scenes)

    def cost(way: Condition) -> dict[str, Any]:
        mine, dense = times()[way.name], times()[DENSE]
        p50, p95 = np.percentile(mine, (50, 95))
        return {
            'cpu_mean_ms': float(np.mean(mine)),
            'cpu_p50_ms': float(p50),
            'cpu_p95_ms': float(p95),
            'times_faster_cpu': float(np.mean(dense) / np.mean(mine)),
            'frames': len(mine),
            'weights_mb': load(job.policy, way.words).reasoner.parameters_mb,
        }

    def success(way: Condition) -> dict[str, Any]:
        found = play(job, way.words)
        seen = found.pop('outcomes')
        dense = seen if way.name == DENSE else unpacked(rows.get(keys[DENSE])['outcomes'])
        return found | paired_columns(seen, dense)

    job.measure(rows, 'depth', keyed, cost, 'cpu_mean_ms')
    job.measure(rows, 'depth', keyed, success, 'success_rate')


def main() -> None:
    """Measure, and write after each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='file of the rows, JSON')
    parser.add_argument('--policy', type=Path, default=default_policy())
    parser.add_argument('--ways', nargs='*', default=list(WAYS), choices=WAYS)
    parser.add_argument(
        '--tasks', type=lambda names: tuple(names.split(',')), default=Sizes().tasks
    )
    parser.add_argument('--episodes', type=int, default=20, help='episodes a task')
    parser.add_argument('--seed', type=int, default=1000)
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tell = Console().print
    sizes = replace(Sizes(), tasks=args.tasks, episodes=args.episodes)
    job = Job(args.policy, sizes, seed=args.seed, tell=tell)
    machine = {'processor': store.processor(), 'instructions': store.instruction_sets()}
    facts = {'seed': job.seed, 'render': job.render, 'threads': args.threads}
    rows = Rows(args.out, manifest(job.policy, {}, **machine, **facts), resume=True)
    measure(job, rows, [DENSE, *(way for way in args.ways if way != DENSE)])
    tell(f'{len(rows.every())} rows in {args.out}')


if __name__ == '__main__':
    main()
