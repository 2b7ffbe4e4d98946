# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla demo``."""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from efficient_vla.bench.animation import Clip, clip, write_animation
from efficient_vla.bench.contact_sheet import SheetRow, contact_sheet, moments
from efficient_vla.bench.manifest import machine
from efficient_vla.claims import writable_folder
from efficient_vla.cli.live import LiveObserver
from efficient_vla.cli.run_options import (
    add_graph_run,
    graph_request,
    task_list,
)
from efficient_vla.records import EpisodeResult

DESCRIPTION = """\
Drive a simulated arm, by default Meta-World's Sawyer, through its demonstration tasks: camera
images and a sentence go in, the arm does the task, in wall-clock time through the whole graph of
ROS 2 nodes.

A new folder below --out then holds summary.json, manifest.json, a video of every episode, a
contact sheet and an animation of all tasks."""

EXAMPLE = """\
  efficient-vla demo
  efficient-vla demo --robot so101
  efficient-vla demo --robot ur5e --tasks push --episodes 1
  efficient-vla demo --tasks reach-v3,door-open-v3 --episodes 1 \\
      --set perception.cache.method=reuse"""


class SheetObserver(LiveObserver):
    """A live display that also gathers what contact sheet and animation show."""

    def __init__(self, console: Console, total: int) -> None:
        super().__init__(console, total)
        self.rows: dict[str, SheetRow] = {}
        self.clips: list[Clip] = []

    def finish(self, result: EpisodeResult, frames: list[tuple[float, np.ndarray]]) -> None:
        """Keep the moments of the first episode of a task, and how all of them ended."""
        super().finish(result, frames)
        row = self.rows.get(result.task)
        if row is None:
            self.clips.append(clip(result.instruction, result.success, frames))
            self.rows[result.task] = SheetRow(
                result.task,
                result.instruction,
                [result.success],
                result.duration_s,
                moments(frames),
            )
        else:
            row.outcomes.append(result.success)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=Path,
        default=Path('runs'),
        help='folder for the folders of runs (default: %(default)s)',
    )
    parser.add_argument(
        '--tasks',
        metavar='A,B',
        type=task_list,
        help='tasks of the robot (default: those of its demonstration)',
    )
    add_graph_run(
        parser,
        2,
        'that of the robot profile, fast; default takes 130 ms a frame on a CPU, which a real '
        'camera does not',
    )


def main(arguments: argparse.Namespace) -> int:
    """Run the demonstration; 0 when every episode was run, whatever its outcome."""
    from efficient_vla.bench.graph_runner import run_graph
    from efficient_vla.cli.display import console, show_report
    from efficient_vla.sim.catalogue import simulation

    tasks = arguments.tasks or simulation(arguments.robot).demo_tasks
    request = graph_request(arguments, tasks)
    folder = writable_folder(arguments.out / time.strftime('%Y%m%d-%H%M%S'), '--out')
    request = replace(
        request, video=folder / 'videos', keep_frames=True, log_folder=folder / 'logs'
    )
    sheet = SheetObserver(console, len(request.jobs))
    with sheet:
        found = run_graph(request, sheet)
    for episode in found['episodes']:
        if 'video' in episode:
            episode['video'] = str(Path(episode['video']).relative_to(folder))
    for name, content in (('summary', found), ('manifest', found['manifest'])):
        (folder / f'{name}.json').write_text(json.dumps(content, indent=2) + '\n')
    contact_sheet(
        folder / 'contact_sheet.png',
        f'efficient_vla: a sentence and a camera drive {arguments.robot}',
        subtitle(found),
        list(sheet.rows.values()),
    )
    write_animation(folder / 'animation.webp', sheet.clips)
    show_report(found)
    console.print(f'results: {folder}', soft_wrap=True)
    return 0


def subtitle(found: dict[str, Any]) -> str:
    """Return what a reader of the contact sheet should know about the run."""
    episodes = sum(task['episodes'] for task in found['tasks'].values())
    successes = sum(task['successes'] for task in found['tasks'].values())
    rates = ', '.join(
        f'{stage} {found["rates_hz"][stage]:.0f} Hz'
        for stage in ('reasoner', 'actor', 'controller')
        if stage in found['rates_hz']
    )
    return (
        f'{successes} of {episodes} episodes succeed in wall-clock time on '
        f'{machine()["cores"]} cores: {rates}'
    )
