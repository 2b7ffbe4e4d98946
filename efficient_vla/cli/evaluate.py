# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla eval``."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from efficient_vla.claims import writable_folder
from efficient_vla.cli.run_options import (
    add_graph_run,
    graph_request,
    policy_place,
    task_list,
    writable_file,
    written,
)
from efficient_vla.errors import UsageError
from efficient_vla.settings import without_effect
from efficient_vla.sim.episodes import PLANS

DESCRIPTION = """\
Measure a policy: success by task with its 95 % interval, latencies and rates of each stage,
smoothness of the motion.

In process, stages and controller run in lock-step with the simulator and inference takes no
simulated time. With --graph the nodes run in wall-clock time. Episode i of a task is reset with
seed S+i, so that two runs with the same seed meet the same scenes. Latencies in process are those
beside the other workers; take --workers 1 to measure them alone."""

EXAMPLE = """\
  efficient-vla eval --robot ur5e --tasks reach,push --episodes 20 --json out.json
  efficient-vla eval --robot so101 --tasks push --episodes 10 --graph --json out.json
  efficient-vla eval --tasks reach-v3,door-open-v3 --episodes 20 --seed 1000 --json out.json
  efficient-vla eval --tasks reach-v3 --episodes 10 --seed 1000 --graph --render fast \\
      --set reasoner.pruning.method=fastv --set reasoner.pruning.keep=0.5 --json out.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--tasks', metavar='A,B', type=task_list, required=True, help='tasks of the robot'
    )
    add_graph_run(
        parser,
        20,
        'default in process; in the graph that of the robot profile, fast, since a real camera '
        'costs nothing',
    )
    parser.add_argument(
        '--instruction',
        metavar='TEXT',
        help="sentence for every episode (default: each task's own)",
    )
    parser.add_argument(
        '--graph',
        action='store_true',
        help='run the ROS graph in wall-clock time instead of in process',
    )
    parser.add_argument(
        '--plan-period',
        metavar='SECONDS',
        type=float,
        help='simulated time between plans, in process (default: 0.4 s for dual, 0.2 s for single)',
    )
    parser.add_argument(
        '--chunk-period',
        metavar='SECONDS',
        type=float,
        help='simulated time between chunks of dual, in process (default: 0.1 s)',
    )
    parser.add_argument(
        '--plan',
        choices=PLANS,
        help='what a plan carries, in process: live plans, the first of the episode for all of it, '
        'or plans for a wrong sentence (default: live)',
    )
    parser.add_argument(
        '--workers', metavar='N', type=int, help='processes, in process only (default: one a core)'
    )
    parser.add_argument(
        '--video', metavar='DIR', type=Path, help='write a video of every episode into this folder'
    )
    parser.add_argument(
        '--json', metavar='OUT', type=Path, required=True, help='file for the result'
    )


def main(arguments: argparse.Namespace) -> int:
    """Evaluate, show a table and write the JSON file."""
    target = writable_file(arguments.json)
    if arguments.video is not None:
        writable_folder(arguments.video, '--video')
    with written(target) as write:
        write(_graph(arguments) if arguments.graph else _in_process(arguments))
    return 0


def override_words(arguments: argparse.Namespace) -> list[str]:
    """Return all overrides as ``node.param=value``, those with an own option among them."""
    words = list(arguments.overrides)
    for name, value in (
        ('actor.architecture', arguments.architecture),
        ('eval.reasoner_period', arguments.plan_period),
        ('eval.actor_period', arguments.chunk_period),
        ('eval.plan', arguments.plan),
    ):
        if value is not None:
            words.append(f'{name}={value}')
    return words


def _in_process(arguments: argparse.Namespace) -> dict[str, Any]:
    from efficient_vla.bench.evaluate import Request, evaluate
    from efficient_vla.bench.overrides import build_settings, parse_overrides
    from efficient_vla.cli.display import episode_progress, show_report

    overrides = parse_overrides(override_words(arguments))
    for node, settings in build_settings(overrides, arguments.robot).items():
        for line in without_effect(settings):
            print(f'{node}.{line}', file=sys.stderr)
    cores = len(os.sched_getaffinity(0))
    request = Request(
        policy=policy_place(arguments.policy, arguments.robot),
        tasks=arguments.tasks,
        robot=arguments.robot,
        episodes=arguments.episodes,
        seed=arguments.seed,
        overrides=overrides,
        instruction=arguments.instruction,
        render=arguments.render or 'default',
        video=arguments.video,
        workers=cores if arguments.workers is None else arguments.workers,
    )
    with episode_progress(len(request.jobs())) as add:
        found = evaluate(request, add)
    show_report(found)
    return found


def _graph(arguments: argparse.Namespace) -> dict[str, Any]:
    from efficient_vla.bench.graph_runner import run_graph
    from efficient_vla.cli.display import console, show_report
    from efficient_vla.cli.live import LiveObserver

    for name in ('plan_period', 'chunk_period', 'plan', 'workers'):
        if getattr(arguments, name) is not None:
            raise UsageError(
                f'--{name.replace("_", "-")} schedules an evaluation in process; leave it out of '
                '--graph, where every stage runs as fast as it can.'
            )
    request = replace(
        graph_request(arguments, arguments.tasks),
        instruction=arguments.instruction,
        video=arguments.video,
    )
    with LiveObserver(console, len(request.jobs)) as observer:
        found = run_graph(request, observer)
    show_report(found)
    return found
