# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench motion``."""

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

PARTS = ('seams', 'peer', 'success', 'controller')

DESCRIPTION = """\
Measure how smoothly and steadily chunks become motion, and write rows, pictures and a page.

  seams       recorded chunks of the policy, and of a dummy whose chunks disagree, played late, lost
              or out of order through every blending: jerk, tracking error, idle time
  peer        the same chunks through LeRobot's ActionQueue, RTCProcessor and RobotClient, in the
              interpreter that --peer-python names; skipped without one. To make one:
                python3.12 -m venv lerobot && lerobot/bin/pip install 'lerobot[async]==0.6.1'
  success     episodes in which inference takes simulated time, asynchronous and synchronous
  controller  periods of the control loop, loaded at 200 Hz and idle at 500 Hz"""

EXAMPLE = """\
  efficient-vla bench motion --quick --json motion.json
  efficient-vla bench motion --peer-python lerobot/bin/python --json docs/results/motion.json
  efficient-vla bench motion --parts success --resume --json docs/results/motion.json"""


def add_parsers(parts: Any) -> None:
    """Declare the part and its options."""
    parser: argparse.ArgumentParser = parts.add_parser(
        'motion',
        help='seams between chunks, delays of inference, the control loop',
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
    parser.add_argument('--episodes', metavar='N', type=int, help='episodes a task and execution')
    parser.add_argument(
        '--timing-s', metavar='S', type=float, help='seconds of the loaded control loop'
    )
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
        '--peer-python', metavar='PATH', type=Path, help='Python of an environment with LeRobot'
    )
    parser.add_argument('--json', metavar='OUT', type=Path, required=True, help='file for the rows')
    parser.set_defaults(part_main=main)


def main(arguments: argparse.Namespace) -> int:
    """Measure the parts."""
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        raise UsageError(f'unknown part {unknown[0]!r}; expected some of {", ".join(PARTS)}.')
    peer = arguments.peer_python
    if peer is not None and not os.access(peer, os.X_OK):
        raise UsageError(
            f'--peer-python {peer} cannot be run; expected the Python of an environment with '
            "LeRobot. Make one with python3.12 -m venv and pip install 'lerobot[async]'."
        )
    target = writable_file(arguments.json)

    from efficient_vla.bench.motion import run
    from efficient_vla.cli.display import console

    job = run.Job(
        policy=policy_folder(arguments.policy),
        sizes=_sizes(arguments, run.QUICK if arguments.quick else run.Sizes()),
        quick=arguments.quick,
        seed=arguments.seed,
        render=arguments.render,
        workers=1 if arguments.quick else len(os.sched_getaffinity(0)),
        peer_python=peer.absolute() if peer is not None else None,
        tell=lambda text: console.print(text, markup=False),
    )
    rows = run.open_rows(target, job, arguments.resume)
    for name in run.PARTS:
        if name in arguments.parts:
            run.PARTS[name](job, rows)
    rows.write()
    for path in run.write_page(rows):
        console.print(f'wrote {path}', markup=False)
    return 0


def _sizes(arguments: argparse.Namespace, sizes: Any) -> Any:
    """Return the sizes with what was given; refuse what cannot be measured."""
    given = {
        name: getattr(arguments, name)
        for name in ('tasks', 'episodes', 'timing_s')
        if getattr(arguments, name) is not None
    }
    for name, value in given.items():
        if isinstance(value, (int, float)) and value < 1:
            raise UsageError(f'--{name.replace("_", "-")} is {value}; expected at least 1.')
    return replace(sizes, **given)
