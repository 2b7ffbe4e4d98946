# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench techniques`` and ``efficient-vla bench instructions``."""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficient_vla.cli.run_options import (
    add_episodes,
    add_part,
    add_render,
    policy_folder,
    refuse_unknown,
    task_list,
    writable_file,
    written,
)

if TYPE_CHECKING:
    from efficient_vla.bench.evaluate import Request

TECHNIQUES = ('fastv 0.5', 'cache reuse', 'bf16', 'int8_dynamic')


def add_parsers(parts: Any) -> None:
    """Declare both parts."""
    text = 'success with each technique alone'
    techniques = _add(parts, 'techniques', text, 20, _techniques)
    techniques.add_argument(
        '--names',
        metavar='A,B',
        type=task_list,
        default=TECHNIQUES,
        help=f'techniques beside dense (default: {",".join(TECHNIQUES)})',
    )
    _add(parts, 'instructions', 'success with other sentences', 10, _instructions)


def _add(parts: Any, name: str, text: str, episodes: int, main: Any) -> argparse.ArgumentParser:
    parser = add_part(parts, name, text, f'--episodes {episodes} --json {name}.json', main)
    parser.add_argument(
        '--tasks',
        metavar='A,B',
        type=task_list,
        help='Meta-World tasks (default: those of the table in the README)',
    )
    add_episodes(parser, episodes)
    add_render(parser, 'default')
    parser.add_argument('--json', metavar='OUT', type=Path, help='file for the result')
    return parser


def _techniques(arguments: argparse.Namespace) -> int:
    from benchmarks.stages import VARIANTS
    from efficient_vla.bench.conditions import techniques
    from efficient_vla.sim.metaworld.tasks import DEMO_TASKS

    refuse_unknown('technique', arguments.names, tuple(VARIANTS))
    request = _request(arguments, arguments.tasks or DEMO_TASKS)
    episodes = len(request.jobs()) * (len(arguments.names) + 1)
    return _run(arguments, episodes, partial(techniques, request, arguments.names))


def _instructions(arguments: argparse.Namespace) -> int:
    from efficient_vla.bench.conditions import instructions, sentences
    from efficient_vla.sim.metaworld.tasks import TASKS

    request = _request(arguments, arguments.tasks or TASKS)
    scenes = sum(len(tasks) for _, tasks in sentences(request.tasks))
    return _run(arguments, scenes * request.episodes, partial(instructions, request))


def _request(arguments: argparse.Namespace, tasks: tuple[str, ...]) -> 'Request':
    from efficient_vla.bench.evaluate import Request

    shape = arguments.architecture
    return Request(
        policy=policy_folder(arguments.policy),
        tasks=tasks,
        episodes=arguments.episodes,
        seed=arguments.seed,
        overrides={'actor': {'architecture': shape}} if shape else {},
        render=arguments.render,
        workers=len(os.sched_getaffinity(0)),
    )


def _run(arguments: argparse.Namespace, episodes: int, measure: Any) -> int:
    from efficient_vla.cli.display import console, episode_progress, success_table

    target = writable_file(arguments.json) if arguments.json else None
    with written(target) as write, episode_progress(episodes) as add:
        found = measure(add)
        write(found)
    console.print(success_table(found['rows']))
    return 0
