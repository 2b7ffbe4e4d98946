# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla compress``."""

import argparse
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from efficient_vla.claims import claimed
from efficient_vla.cli.run_options import (
    add_hardware,
    add_seed,
    policy_folder,
    refuse_below,
    task_list,
)
from efficient_vla.errors import UsageError

DESCRIPTION = """\
Find the settings with which a policy decides within a budget of time and still succeeds: number
formats, engines, depth, tokens and caches alone and together, measured in turn with the policy as
it is on recorded frames of a scripted expert, and the best of them confirmed on paired episodes.

OUT gets the policy, deployment.yaml with the parameters, which every command that is given OUT
takes, and report.md with the front of time and gap. Latencies are of the machine this runs on."""

EXAMPLE = """\
  efficient-vla compress models/evla-nano --target cpu --budget-ms 20 --max-drop 2 --out fast
  efficient-vla eval --policy fast --tasks drawer-open-v3 --episodes 20 --json out.json
  efficient-vla up --policy fast"""
TARGETS = ('cpu', 'jetson', 'gpu')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('folder', metavar='FOLDER', help='policy folder, or a shipped one by name')
    parser.add_argument(
        '--target', choices=TARGETS, default='cpu', help='what decides (default: %(default)s)'
    )
    parser.add_argument(
        '--budget-ms',
        metavar='N',
        type=float,
        required=True,
        help='mean time of a decision on this machine: perception, reasoner and actor',
    )
    parser.add_argument(
        '--max-drop',
        metavar='P',
        type=float,
        default=2.0,
        help='points of success that may be lost (default: %(default)s)',
    )
    parser.add_argument(
        '--out', metavar='OUT', type=Path, required=True, help='new folder for what was found'
    )
    parser.add_argument('--tasks', metavar='A,B', type=task_list, help='Meta-World tasks')
    parser.add_argument(
        '--episodes', metavar='N', type=int, default=34, help='a task (default: %(default)s)'
    )
    parser.add_argument(
        '--frames', metavar='N', type=int, default=16, help='a task (default: %(default)s)'
    )
    parser.add_argument(
        '--tries',
        metavar='N',
        type=int,
        default=4,
        help='compositions that episodes are played with at most (default: %(default)s)',
    )
    add_seed(parser)
    parser.add_argument('--workers', metavar='N', type=int, help='processes (default: one a core)')
    add_hardware(parser, 'hardware profile whose threads are used')


def main(arguments: argparse.Namespace) -> int:
    """Search and write the folder; return 0 where the budget was met, else 1."""
    started = time.monotonic()
    refuse_below(arguments, 1, 'episodes', 'tries', 'workers')
    if not 0 < arguments.budget_ms < math.inf:
        raise UsageError(f'--budget-ms is {arguments.budget_ms}; expected a positive number.')
    if not 0 <= arguments.max_drop < math.inf:
        raise UsageError(f'--max-drop is {arguments.max_drop}; expected a positive number.')
    _refuse_target(arguments.target)

    from benchmarks.compute.memory import measure_memory
    from benchmarks.job import Job, Sizes
    from benchmarks.tokens.latency import WARM_UP_FRAMES
    from efficient_vla.bench.compress.deploy import PAGE, refuse_folder, write
    from efficient_vla.bench.compress.run import Search
    from efficient_vla.bench.evaluate import refuse_misfit
    from efficient_vla.bench.manifest import manifest
    from efficient_vla.cli.display import console
    from efficient_vla.sim.episodes import jobs

    refuse_below(arguments, WARM_UP_FRAMES + 1, 'frames')
    policy = policy_folder(arguments.folder)
    refuse_folder(arguments.out, policy)
    sizes = replace(Sizes(), episodes=arguments.episodes, frames=arguments.frames)
    if arguments.tasks is not None:
        sizes = replace(sizes, tasks=arguments.tasks)
    jobs(sizes.tasks, arguments.seed, sizes.episodes)
    job = Job(
        policy=policy,
        sizes=sizes,
        seed=arguments.seed,
        workers=arguments.workers or len(os.sched_getaffinity(0)),
        hardware=arguments.hardware,
        tell=lambda text: console.print(text, markup=False),
    )
    refuse_misfit(job.request(()))
    with claimed(arguments.out):
        search = Search(job, arguments.budget_ms, arguments.max_drop, arguments.tries)
        found = search.run()
        about = {
            'budget_ms': arguments.budget_ms,
            'max_drop': arguments.max_drop,
            'target': arguments.target,
            'minutes': (time.monotonic() - started) / 60,
            'manifest': manifest(
                policy, {}, seed=job.seed, render=job.render, tasks=job.sizes.tasks
            ),
        }
        if found.chosen is not None:
            about['dense_memory'] = measure_memory(policy, found.dense.words)
            about['memory'] = measure_memory(policy, found.chosen.words)
        write(arguments.out, policy, found, about)
    print((arguments.out / PAGE).read_text().splitlines()[4])
    print(f'wrote {arguments.out}/{PAGE}', file=sys.stderr)
    return int(found.chosen is None)


def _refuse_target(target: str) -> None:
    """Raise ``UsageError`` where this machine is none of the target's kind."""
    from efficient_vla.devices import torch_device

    if target != 'cpu' and torch_device('auto').type != 'cuda':
        raise UsageError(
            f'--target is {target}, and this machine has no CUDA device that torch sees; latencies '
            f'are measured where they count. Run this on the {target}, or take --target cpu.'
        )
