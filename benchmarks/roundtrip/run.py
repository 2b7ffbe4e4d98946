# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Success of a folder that LeRobot trained, in LeRobot's class and in ours, on the same episodes.

``python -m benchmarks.roundtrip.run FOLDER ... --peer-python PYTHON --json OUT``. Two ways drive
the same simulated arm over the same tasks and seeds, in lockstep with the same controller and
schedule: LeRobot's own class in the peer's Python, and ours in process. ``efficient-vla eval
--graph`` measures the graph. The file is written after every way of every folder; another run keeps
what is there.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.roundtrip.peer import serving, stand_in
from efficient_vla.bench.evaluate import Request, evaluate
from efficient_vla.bench.lockstep import run_episode
from efficient_vla.bench.manifest import checkpoint_hash, manifest
from efficient_vla.bench.overrides import build_settings
from efficient_vla.bench.report import success_summary
from efficient_vla.records import EpisodeResult
from efficient_vla.sim.catalogue import simulation
from efficient_vla.sim.episodes import jobs

TASKS = ('button-press-v3', 'drawer-open-v3', 'window-close-v3')
WAYS = ('lerobot', 'process')
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


def in_process(run: Run, folder: Path) -> tuple[list[EpisodeResult], dict[str, Any]]:
    """Return the episodes that our stages drove in process."""
    found: list[EpisodeResult] = []

    def keep(result: EpisodeResult) -> None:
        found.append(result)
        say(result)

    request = Request(
        policy=folder,
        tasks=run.tasks,
        episodes=run.episodes,
        seed=run.seed,
        overrides=OVERRIDES,
        render=RENDER,
        image_size=SIZE,
        robot=ROBOT,
    )
    whole = evaluate(request, keep)
    return found, {'parameters': whole['manifest']['parameters']}


MEASURES = {'lerobot': with_lerobot, 'process': in_process}


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


def main() -> int:
    """Measure what the file does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folders', nargs='+', type=Path, help='policy folders of LeRobot')
    parser.add_argument('--peer-python', default='', help='a Python that has LeRobot')
    parser.add_argument('--hub', type=Path, default=Path('hub'), help='hub cache of the training')
    parser.add_argument('--ways', default=','.join(WAYS), help='some of %(default)s')
    parser.add_argument('--tasks', default=','.join(TASKS), help='default: %(default)s')
    parser.add_argument('--episodes', type=int, default=50, help='a task (default: 50)')
    parser.add_argument('--seed', type=int, default=1000, help='of the first episode')
    parser.add_argument('--json', type=Path, required=True, help='file for the result')
    arguments = parser.parse_args()
    ways = arguments.ways.split(',')
    unknown = [way for way in ways if way not in WAYS]
    if unknown or ('lerobot' in ways and not arguments.peer_python):
        parser.error(
            f'unknown way {unknown[0]!r}; expected some of {", ".join(WAYS)}.'
            if unknown
            else '--ways lerobot needs --peer-python; leave lerobot out or name that Python.'
        )
    run = Run(
        tuple(arguments.tasks.split(',')),
        arguments.episodes,
        arguments.seed,
        arguments.peer_python,
        arguments.hub.resolve(),
    )
    found: dict[str, Any] = {'rows': []}
    if arguments.json.exists():
        found = json.loads(arguments.json.read_text())
    for folder in arguments.folders:
        for way in ways:
            wanted = {
                'sha256': checkpoint_hash(folder),
                'jobs': [list(job) for job in run.jobs],
            }
            kept = [one for one in found['rows'] if one['policy'] == folder.name]
            kept = [one for one in kept if one['way'] == way and one['wanted'] == wanted]
            if kept:
                continue
            sys.stderr.write(f'{folder.name}, {way}\n')
            results, facts = MEASURES[way](run, folder)
            found['rows'] = [
                one for one in found['rows'] if (one['policy'], one['way']) != (folder.name, way)
            ]
            about = manifest(folder, facts.pop('parameters', OVERRIDES), render=RENDER, **facts)
            about['camera'] = {'rows': SIZE, 'columns': SIZE}
            found['rows'].append(row(way, folder, results) | {'wanted': wanted, 'manifest': about})
            arguments.json.write_text(json.dumps(found, indent=1) + '\n')
    sys.stdout.write(table(found['rows']) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
