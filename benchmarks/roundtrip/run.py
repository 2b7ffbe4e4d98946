# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Success of a folder that LeRobot trained, in LeRobot's class and in ours, on the same episodes.

Two ways drive the same simulated arm over the same tasks and seeds, in lockstep with the same
controller and schedule: LeRobot's own class in the peer's Python, and ours in process.
``efficient-vla eval --graph`` measures the graph.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.missing import Wanted, measure_missing
from benchmarks.roundtrip.peer import serving, stand_in
from efficient_vla.bench.evaluate import Request, evaluate
from efficient_vla.bench.lockstep import run_episode
from efficient_vla.bench.manifest import checkpoint_hash, manifest
from efficient_vla.bench.overrides import build_settings
from efficient_vla.bench.report import success_summary
from efficient_vla.records import EpisodeResult
from efficient_vla.sim.catalogue import simulation
from efficient_vla.sim.episodes import jobs

ROBOT = 'metaworld'
RENDER, SIZE = 'fast', 128
"""The camera as it was when the demonstrations were recorded."""
OVERRIDES: dict[str, dict[str, Any]] = {'eval': {'reasoner_period': 0.2, 'actor_period': 0.2}}
"""A chunk every 0.2 s of simulated time, whoever computes it."""
PEER: dict[str, dict[str, Any]] = {
    'actor': {'architecture': 'single'},
    'eval': {'reasoner_period': 0.2},
    'perception': {'cache.method': 'none'},
}
"""The same where LeRobot's class takes the place of our actor."""


@dataclass(frozen=True)
class Run:
    """What every way is given."""

    tasks: tuple[str, ...]
    episodes: int
    seed: int
    peer_python: str
    hub: Path

    @property
    def jobs(self) -> list[tuple[str, int]]:
        """Return task and seed of every episode."""
        return jobs(self.tasks, self.seed, self.episodes, ROBOT)


def say(result: EpisodeResult) -> None:
    """Tell how an episode ended."""
    word = 'success' if result.success else 'failed'
    sys.stderr.write(f'  {result.task} {result.seed}: {word}, {result.duration_s:.2f} s\n')


def with_lerobot(run: Run, folder: Path) -> tuple[list[EpisodeResult], dict[str, Any]]:
    """Return the episodes that LeRobot's own class drove, and its versions."""
    about = simulation(ROBOT)
    settings = build_settings(PEER, ROBOT)
    found = []
    with serving(run.peer_python, folder, run.hub) as peer:
        for task in run.tasks:
            scene = about.make(task, RENDER, SIZE, settings['eval'].max_steps)
            for _, seed in (job for job in run.jobs if job[0] == task):
                policy = stand_in(peer, about, settings, 1000 * seed)
                found.append(run_episode(scene, policy, settings, seed, about.instructions[task]))
                say(found[-1])
            scene.close()
        return found, {'peer': peer.about}


def request(
    folder: Path,
    tasks: tuple[str, ...],
    episodes: int,
    seed: int,
    overrides: Mapping[str, Mapping[str, Any]],
    workers: int = 1,
) -> Request:
    """Return what to evaluate, before the camera of the demonstrations."""
    return Request(
        policy=folder,
        tasks=tasks,
        episodes=episodes,
        seed=seed,
        overrides=overrides,
        render=RENDER,
        image_size=SIZE,
        workers=workers,
        robot=ROBOT,
    )


def in_process(run: Run, folder: Path) -> tuple[list[EpisodeResult], dict[str, Any]]:
    """Return the episodes that our stages drove in process."""
    found: list[EpisodeResult] = []

    def keep(result: EpisodeResult) -> None:
        found.append(result)
        say(result)

    whole = evaluate(request(folder, run.tasks, run.episodes, run.seed, OVERRIDES), keep)
    return found, {'parameters': whole['manifest']['parameters']}


MEASURES = {'lerobot': with_lerobot, 'process': in_process}
"""Way -> what measures it."""


def row(way: str, folder: Path, results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Return success of one way: by task, and of all episodes together."""
    tasks = dict.fromkeys(result.task for result in results)
    by_task = {
        task: success_summary([one.success for one in results if one.task == task])
        for task in tasks
    }
    return {
        'policy': folder.name,
        'way': way,
        **success_summary([one.success for one in results]),
        'tasks': by_task,
        'outcomes': [[one.task, one.seed, one.success] for one in results],
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return success by policy and way as a table for a page, with 95 % Wilson intervals."""
    tasks = list(dict.fromkeys(task for one in rows for task in one['tasks']))
    lines = [
        f'| policy | way | all | {" | ".join(task.removesuffix("-v3") for task in tasks)} |',
        '|---' * (3 + len(tasks)) + '|',
    ]
    for one in rows:
        low, high = one['ci95']
        cells = [
            one['policy'],
            one['way'],
            f'{100 * one["success_rate"]:.1f} % ({100 * low:.0f} to {100 * high:.0f})',
            *(
                f'{one["tasks"][task]["successes"]}/{one["tasks"][task]["episodes"]}'
                for task in tasks
            ),
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def measure(
    run: Run, folders: Sequence[Path], ways: Sequence[str], target: Path
) -> list[dict[str, Any]]:
    """Return a row of every folder and way, measured now where the file does not hold it yet.

    The file is written after each of them. Raises ``UsageError`` where it holds something else.
    """

    def missing() -> Iterator[Wanted]:
        for folder in folders:
            wanted = {'sha256': checkpoint_hash(folder), 'jobs': [list(job) for job in run.jobs]}
            for way in ways:
                name = {'policy': folder.name, 'way': way}
                yield Wanted(name, wanted, partial(_measured, run, folder, way))

    return measure_missing(target, missing(), {'policy', 'way', 'tasks'})


def _measured(run: Run, folder: Path, way: str) -> dict[str, Any]:
    results, facts = MEASURES[way](run, folder)
    about = manifest(folder, facts.pop('parameters', OVERRIDES), render=RENDER, **facts)
    about['camera'] = {'rows': SIZE, 'columns': SIZE}
    return row(way, folder, results) | {'manifest': about}
