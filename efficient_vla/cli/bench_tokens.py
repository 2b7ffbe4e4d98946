# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench tokens``."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from efficient_vla.bench.errors import UsageError
from efficient_vla.cli.options import add_policy
from efficient_vla.cli.options import policy_folder
from efficient_vla.cli.options import task_list
from efficient_vla.cli.options import writable_file

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


def add_parsers(parts: Any) -> None:
    """Declare the part and its options."""
    parser: argparse.ArgumentParser = parts.add_parser(
        'tokens',
        help='everything about visual tokens',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=f'example:\n{EXAMPLE}',
    )
    add_policy(parser)
    parser.add_argument(
        '--parts',
        metavar='A,B',
        type=task_list,
        default=PARTS,
        help=f'what to measure (default: {",".join(PARTS)})',
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='tiny sizes, about two minutes: says that everything runs',
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='keep the rows of OUT and measure what is missing; otherwise OUT begins anew',
    )
    parser.add_argument('--tasks', metavar='A,B', type=task_list, help='Meta-World tasks')
    parser.add_argument('--episodes', metavar='N', type=int, help='episodes a task and method')
    parser.add_argument(
        '--graph-episodes', metavar='N', type=int, help='episodes a task and graph condition'
    )
    parser.add_argument('--frames', metavar='N', type=int, help='frames a task for latencies')
    parser.add_argument('--soak-frames', metavar='N', type=int, help='frames of the soak')
    parser.add_argument(
        '--seed',
        metavar='S',
        type=int,
        default=1000,
        help='seed of the first episode (default: %(default)s)',
    )
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
    parser.add_argument(
        '--hardware',
        metavar='NAME',
        default='cpu_2core',
        help='hardware profile of the graph (default: %(default)s)',
    )
    parser.add_argument('--json', metavar='OUT', type=Path, required=True, help='file for the rows')
    parser.set_defaults(part_main=main)


def main(arguments: argparse.Namespace) -> int:
    """Measure the parts; return 0 where the soak found nothing wrong, else 1."""
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        raise UsageError(f'unknown part {unknown[0]!r}; expected some of {", ".join(PARTS)}.')
    target = writable_file(arguments.json)

    from efficient_vla.bench.overrides import parse_overrides
    from efficient_vla.bench.tokens import run
    from efficient_vla.cli.display import console
    from efficient_vla.cli.live import LiveObserver

    sizes = _sizes(arguments, run.QUICK if arguments.quick else run.Sizes())
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
    rows = run.open_rows(target, job, arguments.resume)
    for name in run.PARTS:
        if name in arguments.parts:
            run.PARTS[name](job, rows)
    rows.write()
    for path in run.write_page(rows):
        console.print(f'wrote {path}', markup=False)
    wrong = run.failures(rows)
    for text in wrong:
        console.print(f'soak: {text}', style='red', markup=False)
    return int(bool(wrong))


def _sizes(arguments: argparse.Namespace, sizes: Any) -> Any:
    """Return the sizes with what was given; refuse what cannot be measured."""
    given = {
        name: getattr(arguments, name)
        for name in ('tasks', 'episodes', 'graph_episodes', 'frames', 'soak_frames')
        if getattr(arguments, name) is not None
    }
    for name, value in given.items():
        if isinstance(value, int) and value < 1:
            raise UsageError(f'--{name.replace("_", "-")} is {value}; expected at least 1.')
    return replace(sizes, **given)
