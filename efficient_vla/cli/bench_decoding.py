# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench decoding``."""

import argparse
import os
from typing import Any

from efficient_vla.cli.measuring import add_run, measure_parts, refuse_unknown, resized
from efficient_vla.cli.options import (
    add_hardware,
    add_render,
    policy_folder,
    refuse_below,
    writable_file,
)

PARTS = ('tokenizers', 'latency', 'one_step', 'success')

DESCRIPTION = """\
Measure heads and decodings of actions, and write rows, a picture and a page beside each other.

  tokenizers  how many tokens a chunk takes with bins and with FAST, and at which error
  latency     time and passes of every head and decoding on the same plans, in turn, and how far
              its chunks are from those of the exact one
  one_step    three times as many episodes with the flow head in one distilled step, paired with
              ten steps
  success     episodes with every head and decoding, paired with the regression head"""

EXAMPLE = """\
  efficient-vla bench decoding --quick --json decoding.json
  efficient-vla bench decoding --parts latency --resume --json docs/results/decoding.json"""

SIZES = ('tasks', 'episodes', 'frames')


def add_parsers(parts: Any) -> None:
    """Declare the part and its options."""
    parser: argparse.ArgumentParser = parts.add_parser(
        'decoding',
        help='heads and decodings of actions',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=f'example:\n{EXAMPLE}',
    )
    add_run(parser, PARTS, 'tiny sizes: says that everything runs')
    parser.add_argument('--episodes', metavar='N', type=int, help='episodes a task and head')
    parser.add_argument('--frames', metavar='N', type=int, help='recorded frames a task')
    add_render(parser, 'fast')
    parser.add_argument(
        '--workers', metavar='N', type=int, help='processes for episodes (default: one a core)'
    )
    add_hardware(parser, 'hardware profile whose threads are used')
    parser.set_defaults(part_main=main)


def main(arguments: argparse.Namespace) -> int:
    """Measure the parts."""
    refuse_unknown(arguments.parts, PARTS)
    refuse_below(arguments, 1, 'workers')
    target = writable_file(arguments.json)

    from benchmarks.decoding import run
    from efficient_vla.cli.display import console

    sizes = run.QUICK if arguments.quick else run.Sizes()
    cores = 1 if arguments.quick else len(os.sched_getaffinity(0))
    job = run.Job(
        policy=policy_folder(arguments.policy),
        sizes=resized(arguments, sizes, SIZES),
        quick=arguments.quick,
        seed=arguments.seed,
        render=arguments.render,
        workers=arguments.workers or cores,
        hardware=arguments.hardware,
        tell=lambda text: console.print(text, markup=False),
    )
    measure_parts(run, job, target, arguments)
    return 0
