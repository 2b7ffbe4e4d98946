# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A slow prefix whose state is refreshed, against the whole policy at either rate.

``python -m benchmarks.refresh FOLDER --json OUT``. A policy of LeRobot with a prefix and an action
expert drives three schedules over the same episodes: all of it at the slow rate, all of it at the
fast rate, and the expert at the fast rate on a slow prefix of which only the state is computed
anew. Success is measured as ``efficient-vla eval`` does. Reaction is measured on twins: two runs of
one episode, in one of which the object leaps sideways at a time drawn by the seed; it is the time
from the leap to the first step in which the set-points of the two differ by ``NOTICED_M``. Chunks
arrive ``--delay`` after their image or, where the prefix is older, after their state. The file is
written after every schedule; another run keeps what is there.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from benchmarks.missing import Wanted, measure_missing
from benchmarks.roundtrip.run import RENDER, ROBOT, SIZE, request
from efficient_vla.bench.evaluate import evaluate
from efficient_vla.bench.lockstep import run_episode
from efficient_vla.bench.overrides import build_settings
from efficient_vla.policy import Policy
from efficient_vla.sim.metaworld.scene import MetaWorldSim

OBJECTS = {'button-press-v3': 'box', 'drawer-open-v3': 'drawer', 'window-close-v3': 'window'}
"""Task -> the body that leaps."""
LEAP_M = 0.1
"""Along x, across the arm's way."""
LEAP_S = (0.25, 0.75)
"""When; while the hand is still on its way."""
WATCHED_S = 1.5
NOTICED_M = 0.005


def schedules(slow: float, fast: float) -> dict[str, dict[str, dict[str, Any]]]:
    """Return name -> settings of the three schedules, of periods [s]."""
    return {
        'slow': {'actor': {'architecture': 'single'}, 'eval': {'reasoner_period': slow}},
        'refreshed': {
            'actor': {'architecture': 'dual'},
            'eval': {'reasoner_period': slow, 'actor_period': fast},
        },
        'fast': {'actor': {'architecture': 'single'}, 'eval': {'reasoner_period': fast}},
    }


class LeapingScene(MetaWorldSim):
    """A scene whose object leaps at a step; remembers the set-points."""

    leap_at: int | None = None
    """Step of the leap; ``None`` for the twin that stays."""

    def reset(self, seed: int) -> None:
        """Begin with the object in its place."""
        super().reset(seed)
        self.setpoints: list[np.ndarray] = []

    def step(self, command: np.ndarray) -> None:
        """Let the object leap where it is time, then simulate."""
        if self.steps == self.leap_at:
            body = self.env.model.body(OBJECTS[self.task]).id
            self.env.model.body_pos[body][0] += LEAP_M
        super().step(command)
        self.setpoints.append(self.setpoint())


def reaction(
    task: str,
    seeds: Sequence[int],
    policy: Policy,
    settings: Mapping[str, Any],
    told: Callable[[], None],
) -> list[float | None]:
    """Return for each episode the time from leap to answer [s], ``None`` where none came."""
    period = MetaWorldSim.PERIOD
    steps = round((LEAP_S[1] + WATCHED_S) / period)
    scene = LeapingScene(task, RENDER, SIZE, steps)
    found: list[float | None] = []
    for seed in seeds:
        paths = []
        leap = round(np.random.default_rng(seed).uniform(*LEAP_S) / period)
        for at in (None, leap):
            scene.leap_at = at
            run_episode(scene, policy, settings, seed, scene.instruction)
            paths.append(np.array(scene.setpoints))
        both = min(map(len, paths))
        apart = np.abs(paths[0][:both] - paths[1][:both]).max(1)
        assert not apart[:leap].any(), 'twins differ before the leap'
        noticed = np.flatnonzero(apart > NOTICED_M)
        found.append(float(noticed[0] - leap) * period if len(noticed) else None)
        told()
    scene.close()
    return found


def measure(
    folder: Path, overrides: dict[str, dict[str, Any]], run: argparse.Namespace
) -> dict[str, Any]:
    """Return success and reaction of one schedule."""
    tasks = tuple(run.tasks.split(','))
    delayed = overrides | {'eval': overrides['eval'] | {'delay': run.delay}}
    settings = build_settings(delayed, ROBOT)
    policy = Policy.from_settings(folder, settings)
    twins = range(run.seed, run.seed + run.twins)
    with Progress() as progress:
        bar = progress.add_task('twins', total=len(tasks) * run.twins)
        reactions = {
            task: reaction(task, twins, policy, settings, lambda: progress.advance(bar))
            for task in tasks
        }
    asked = request(folder, tasks, run.episodes, run.seed, delayed, run.workers)
    with Progress() as progress:
        bar = progress.add_task('episodes', total=len(tasks) * run.episodes)
        whole = evaluate(asked, lambda result: progress.advance(bar))
    return {
        'success': {name: whole['tasks'][name] for name in tasks},
        'successes': sum(whole['tasks'][name]['successes'] for name in tasks),
        'episodes': len(tasks) * run.episodes,
        'outcomes': [[one['task'], one['seed'], one['success']] for one in whole['episodes']],
        'reaction_s': reactions,
        'passes_hz': {name: whole['rates_hz'][name] for name in ('reasoner', 'actor')},
        'underruns': whole['control']['underruns'],
        'manifest': whole['manifest'],
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table for a page, by schedule and task."""
    lines = [
        '| schedule | plans and chunks [Hz] | task | success | time to success [s] '
        '| reaction p50 (p95) [s] | no reaction |',
        '|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        rates = ' and '.join(f'{row["passes_hz"][stage]:.1f}' for stage in ('reasoner', 'actor'))
        for task, found in row['success'].items():
            low, high = (100 * end for end in found['ci95'])
            seen = np.array(row['reaction_s'][task], float)
            answered = seen[np.isfinite(seen)]
            spread = '-'
            if len(answered):
                spread = '{:.2f} ({:.2f})'.format(*np.quantile(answered, (0.5, 0.95)))
            lines.append(
                f'| {row["schedule"]} | {rates} | {task.removesuffix("-v3")} '
                f'| {found["successes"]}/{found["episodes"]} ({low:.0f} to {high:.0f} %) '
                f'| {found["time_to_success_s"]:.2f} '
                f'| {spread} '
                f'| {len(seen) - len(answered)} of {len(seen)} |'
            )
    return '\n'.join(lines)


def main() -> int:
    """Measure the schedules that the file does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='policy folder with prefix and expert')
    parser.add_argument('--tasks', default=','.join(OBJECTS), help='default: %(default)s')
    parser.add_argument('--episodes', type=int, default=50, help='a task (default: 50)')
    parser.add_argument('--twins', type=int, default=20, help='pairs a task (default: 20)')
    parser.add_argument('--seed', type=int, default=1000, help='of the first episode')
    parser.add_argument('--slow', type=float, default=0.5, help='period [s] (default: 0.5)')
    parser.add_argument('--fast', type=float, default=0.125, help='period [s] (default: 0.125)')
    parser.add_argument('--delay', type=float, default=0.1, help='of inference [s] (default: 0.1)')
    parser.add_argument('--workers', type=int, default=2, help='processes (default: 2)')
    parser.add_argument('--json', type=Path, required=True, help='file for the result')
    run = parser.parse_args()
    wanted = {name: str(value) for name, value in vars(run).items() if name != 'json'}
    rows = measure_missing(
        run.json,
        (
            Wanted({'schedule': name}, wanted, partial(measure, run.folder, overrides, run))
            for name, overrides in schedules(run.slow, run.fast).items()
        ),
        {'schedule'},
    )
    sys.stdout.write(table(rows) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
