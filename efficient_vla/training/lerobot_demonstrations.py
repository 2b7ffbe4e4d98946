# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Demonstrations as a LeRobotDataset: `efficient-vla data --format lerobot`.

A policy that learns from such a dataset takes the rows after an image for its chunk. So the labels
must be what was executed: first a disturbed expert leads the arm off its path, unrecorded, then
the expert goes on undisturbed from there, and that is the episode.
"""

import argparse
import os
import shutil
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from efficient_vla import unfinished
from efficient_vla.errors import UsageError
from efficient_vla.sim.catalogue import simulation
from efficient_vla.training.demonstrations import ATTEMPTS, MAX_STEPS, TRAIN_SEED
from efficient_vla.training.lerobot_dataset import DatasetLayout, DatasetWriter
from efficient_vla.training.lerobot_units import policy_units
from efficient_vla.training.teachers import refuse_untaught, teacher
from efficient_vla.workers import in_workers

LED_ASTRAY = 0.75
"""Share of the episodes that begin where a disturbed expert has led the arm."""
AFTERWARDS = 10
"""Steps that are recorded after success, so that a policy does not stop on its brink."""


def record(
    robot: str, task: str, seed: int, speed: float, size: int, render: str, sims: dict
) -> dict[str, np.ndarray] | None:
    """Return one episode, or ``None`` where the expert failed or had nothing left to do.

    Arrays: image uint8 [T, size, size, 3], state float32 [T, S] and action float32 [T, A] as the
    profile of the robot counts them, and the sentence. An action is what its teacher says of the
    steps that begin with the image.
    """
    about, units = simulation(robot), policy_units(robot)
    if (task, render, size) not in sims:
        sims[task, render, size] = about.make(task, render, size, MAX_STEPS)
    sim = sims[task, render, size]
    rng = np.random.default_rng([seed, list(about.instructions).index(task)])
    sim.reset(seed)
    shown = teacher(robot, sim, speed, rng)
    astray = int(rng.integers(shown.ASTRAY_STEPS)) if rng.random() < LED_ASTRAY else 0
    while sim.steps < astray and not sim.success:
        shown.astray()
    if sim.success:
        return None
    frames: dict[str, list] = {'image': [], 'state': [], 'action': []}
    left = AFTERWARDS
    while left:
        if sim.steps + units.steps > MAX_STEPS:
            return None
        frames['image'].append(sim.render())
        frames['state'].append(sim.state())
        for _ in range(units.steps - 1):
            shown.step()
        frames['action'].append(shown.step())
        left = max(0, left - units.steps * sim.success)
    found = {key: np.stack(values) for key, values in frames.items()}
    found['state'], found['action'] = units.state(found['state']), units.action(found['action'])
    return {**found, 'instruction': np.array(sim.instruction)}


def layout(robot: str, fps: int, size: int) -> DatasetLayout:
    """Return what the frames of a simulated robot hold; images have ``size`` x ``size`` pixels."""
    about = simulation(robot)
    return DatasetLayout(
        fps, {about.camera: (size, size)}, about.state_names, about.command_names, robot
    )


def _path(folder: Path, task: str, index: int) -> Path:
    return folder / f'{task}.{index:05d}.npz'


def _job(
    folder: str, robot: str, task: str, index: int, speed: float, size: int, render: str
) -> tuple[str, int]:
    path = _path(Path(folder), task, index)
    if path.exists():
        return 'kept', 0
    for attempt in range(ATTEMPTS):
        seed = TRAIN_SEED + ATTEMPTS * index + attempt
        episode = record(robot, task, seed, speed, size, render, _SIMS)
        if episode is not None:
            temporary = path.with_suffix('.tmp')
            with open(temporary, 'wb') as file:
                np.savez(file, allow_pickle=False, **episode)  # type: ignore[arg-type]
            os.replace(temporary, path)
            return 'made', len(episode['state'])
    return 'failed', 0


_SIMS: dict = {}
"""The simulators of this worker process, one a task, rendering and size."""


def main(args: argparse.Namespace) -> int:
    """Make the episodes that are missing, then write all as one dataset.

    Until then they are kept beside ``--out``, so that an interrupted run resumes.
    """
    tasks = args.tasks.split(',')
    numbers = range(args.first, args.first + args.episodes)
    refuse_untaught(args.robot)
    about = simulation(args.robot)
    fps = round(1 / (about.period * policy_units(args.robot).steps))
    writer = DatasetWriter(args.out, layout(args.robot, fps, args.image_size))
    parts = args.out.with_name(args.out.name + '.parts')
    kind = f'{args.robot}-{args.image_size}-{args.render}-{args.speed:g}'
    folder = parts / kind
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (str(folder), args.robot, task, number, args.speed, args.image_size, args.render)
        for number in numbers
        for task in tasks
    ]
    counts = {'made': 0, 'kept': 0, 'failed': 0}

    def say() -> None:
        missing = len(jobs) - sum(counts.values())
        Console().print(
            f'{counts["made"]} episodes made, {counts["kept"]} were there, '
            f'{counts["failed"]} failed'
            + (f'; interrupted, {missing} are missing: the same command goes on' * bool(missing))
        )

    with unfinished.saving(say):
        made = in_workers(_job, jobs, args.workers)
        for outcome, _ in track(made, 'episodes', len(jobs)):
            counts[outcome] += 1
    if counts['failed'] == len(jobs):
        raise UsageError('no expert succeeded in any episode; choose another --speed or --first.')
    with writer:
        for number in numbers:
            for task in tasks:
                if _path(folder, task, number).exists():
                    _add(writer, about.camera, _path(folder, task, number))
    shutil.rmtree(parts)
    Console().print(f'{writer.episodes} episodes, {writer.frames} frames in {args.out}')
    return 0


def _add(writer: DatasetWriter, camera: str, path: Path) -> None:
    with np.load(path) as episode:
        writer.add_episode(
            {camera: episode['image']},
            episode['state'],
            episode['action'],
            str(episode['instruction']),
        )
