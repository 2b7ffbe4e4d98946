# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench decoding``."""

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

PARTS = ('tokenizers', 'latency', 'success')

DESCRIPTION = """\
Measure heads and decodings of actions, and write rows, a picture and a page beside each other.

  tokenizers  how many tokens a chunk takes with bins and with FAST, and at which error
  latency     time and passes of every head and decoding on the same plans, in turn, and how far
              its chunks are from those of the exact one
  success     episodes with every head and decoding, paired with the regression head"""

EXAMPLE = """\
  efficient-vla bench decoding --quick --json decoding.json
  efficient-vla bench decoding --parts latency --resume --json docs/results/decoding.json"""


def add_parsers(parts: Any) -> None:
    """Declare the part and its options."""
    parser: argparse.ArgumentParser = parts.add_parser(
        'decoding',
        help='heads and decodings of actions',
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
        '--quick', action='store_true', help='tiny sizes: says that everything runs'
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='keep the rows of OUT and measure what is missing; otherwise OUT begins anew',
    )
    parser.add_argument('--tasks', metavar='A,B', type=task_list, help='Meta-World tasks')
    parser.add_argument('--episodes', metavar='N', type=int, help='episodes a task and head')
    parser.add_argument('--frames', metavar='N', type=int, help='recorded frames a task')
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
        default='fast',
        help='rendering of the camera (default: %(default)s)',
    )
    parser.add_argument(
        '--workers', metavar='N', type=int, help='processes for episodes (default: one a core)'
    )
    parser.add_argument(
        '--hardware',
        metavar='NAME',
        default='cpu_2core',
        help='hardware profile whose threads are used (default: %(default)s)',
    )
    parser.add_argument('--json', metavar='OUT', type=Path, required=True, help='file for the rows')
    parser.set_defaults(part_main=main)


def main(arguments: argparse.Namespace) -> int:
    """Measure the parts."""
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        raise UsageError(f'unknown part {unknown[0]!r}; expected some of {", ".join(PARTS)}.')
    target = writable_file(arguments.json)

    from efficient_vla.bench.decoding import run
    from efficient_vla.cli.display import console

    sizes = run.QUICK if arguments.quick else run.Sizes()
    cores = 1 if arguments.quick else len(os.sched_getaffinity(0))
    job = run.Job(
        policy=policy_folder(arguments.policy),
        sizes=_sizes(arguments, sizes),
        quick=arguments.quick,
        seed=arguments.seed,
        render=arguments.render,
        workers=arguments.workers or cores,
        hardware=arguments.hardware,
        tell=lambda text: console.print(text, markup=False),
    )
    rows = run.open_rows(target, job, arguments.resume)
    for name, measure in run.PARTS.items():
        if name in arguments.parts:
            measure(job, rows)
    rows.write()
    for path in run.write_page(rows):
        console.print(f'wrote {path}', markup=False)
    return 0


def _sizes(arguments: argparse.Namespace, sizes: Any) -> Any:
    """Return the sizes with what was given; refuse what cannot be measured."""
    given = {
        name: getattr(arguments, name)
        for name in ('tasks', 'episodes', 'frames')
        if getattr(arguments, name) is not None
    }
    for name, value in given.items():
        if isinstance(value, int) and value < 1:
            raise UsageError(f'--{name} is {value}; expected at least 1.')
    return replace(sizes, **given)
