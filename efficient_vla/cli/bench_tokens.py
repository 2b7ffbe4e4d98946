# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench tokens``."""

import argparse
import os
from typing import Any

from efficient_vla.cli.measuring import add_run, measure_parts, refuse_unknown, resized
from efficient_vla.cli.options import add_hardware, policy_folder, task_list, writable_file

PARTS = ('shapes', 'vision', 'overhead', 'methods', 'graph', 'soak')

DESCRIPTION = """\
Measure everything about visual tokens, and write rows, pictures and a page beside each other.

  shapes    language parts of SmolVLM2-500M and LLaVA-7B against keep and reuse; on a GPU if there
  vision    the vision tower: where the time goes, partial recomputation, a static scene
  overhead  what a selector and its gate cost
  methods   success and cost of every method at keep 0.5 and 0.25, paired with dense
  graph     whole plan latency of dense and the best composition through the ROS graph
  soak      thousands of frames with random changes and accidents"""

EXAMPLE = """\
  efficient-vla bench tokens --quick --json tokens.json
  efficient-vla bench tokens --parts methods,graph --resume --json docs/results/tokens.json"""

SIZES = ('tasks', 'episodes', 'graph_episodes', 'frames', 'soak_frames')


def add_parsers(parts: Any) -> None:
    """Declare the part and its options."""
    parser: argparse.ArgumentParser = parts.add_parser(
        'tokens',
        help='everything about visual tokens',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=f'example:\n{EXAMPLE}',
    )
    add_run(parser, PARTS, 'tiny sizes, about two minutes: says that everything runs')
    parser.add_argument('--episodes', metavar='N', type=int, help='episodes a task and method')
    parser.add_argument(
        '--graph-episodes', metavar='N', type=int, help='episodes a task and graph condition'
    )
    parser.add_argument('--frames', metavar='N', type=int, help='frames a task for latencies')
    parser.add_argument('--soak-frames', metavar='N', type=int, help='frames of the soak')
    parser.add_argument(
        '--render',
        choices=('default', 'fast'),
        help='rendering of the camera in process (default: default; fast with --quick)',
    )
    parser.add_argument(
        '--composition',
        metavar='P=V,P=V',
        type=task_list,
        help='parameters of the best composition, node.param=value',
    )
    parser.add_argument(
        '--device',
        choices=('auto', 'cpu', 'cuda'),
        default='auto',
        help='where the shapes run (default: a GPU if there is one)',
    )
    add_hardware(parser, 'hardware profile of the graph')
    parser.set_defaults(part_main=main)


def main(arguments: argparse.Namespace) -> int:
    """Measure the parts; return 0 where the soak found nothing wrong, else 1."""
    refuse_unknown(arguments.parts, PARTS)
    target = writable_file(arguments.json)

    from benchmarks.tokens import run
    from efficient_vla.bench.overrides import parse_overrides
    from efficient_vla.cli.display import console
    from efficient_vla.cli.live import LiveObserver

    sizes = resized(arguments, run.QUICK if arguments.quick else run.Sizes(), SIZES)
    composition = arguments.composition or run.COMPOSITION
    if arguments.composition:
        parse_overrides(composition)
    job = run.Job(
        policy=policy_folder(arguments.policy),
        sizes=sizes,
        quick=arguments.quick,
        seed=arguments.seed,
        render=arguments.render or ('fast' if arguments.quick else 'default'),
        workers=1 if arguments.quick else len(os.sched_getaffinity(0)),
        device=arguments.device,
        hardware=arguments.hardware,
        composition=composition,
        tell=lambda text: console.print(text, markup=False),
        display=lambda episodes: LiveObserver(console, episodes),
    )
    rows = measure_parts(run, job, target, arguments)
    wrong = run.failures(rows)
    for text in wrong:
        console.print(f'soak: {text}', style='red', markup=False)
    return int(bool(wrong))
