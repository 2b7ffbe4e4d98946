# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench motion``."""

import argparse
import os
from pathlib import Path
from typing import Any

from efficient_vla.cli.measuring import add_run, measure_parts, refuse_unknown, resized
from efficient_vla.cli.options import add_render, policy_folder, writable_file
from efficient_vla.errors import UsageError

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

SIZES = ('tasks', 'episodes', 'timing_s')


def add_parsers(parts: Any) -> None:
    """Declare the part and its options."""
    parser: argparse.ArgumentParser = parts.add_parser(
        'motion',
        help='seams between chunks, delays of inference, the control loop',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=f'example:\n{EXAMPLE}',
    )
    add_run(parser, PARTS, 'tiny sizes, about two minutes: says that everything runs')
    parser.add_argument('--episodes', metavar='N', type=int, help='episodes a task and execution')
    parser.add_argument(
        '--timing-s', metavar='S', type=float, help='seconds of the loaded control loop'
    )
    add_render(parser, 'fast')
    parser.add_argument(
        '--peer-python', metavar='PATH', type=Path, help='Python of an environment with LeRobot'
    )
    parser.set_defaults(part_main=main)


def main(arguments: argparse.Namespace) -> int:
    """Measure the parts."""
    refuse_unknown(arguments.parts, PARTS)
    peer = arguments.peer_python
    if peer is not None and not os.access(peer, os.X_OK):
        raise UsageError(
            f'--peer-python {peer} cannot be run; expected the Python of an environment with '
            "LeRobot. Make one with python3.12 -m venv and pip install 'lerobot[async]'."
        )
    target = writable_file(arguments.json)

    from benchmarks.motion import run
    from efficient_vla.cli.display import console

    job = run.Job(
        policy=policy_folder(arguments.policy),
        sizes=resized(arguments, run.QUICK if arguments.quick else run.Sizes(), SIZES),
        quick=arguments.quick,
        seed=arguments.seed,
        render=arguments.render,
        workers=1 if arguments.quick else len(os.sched_getaffinity(0)),
        peer_python=peer.absolute() if peer is not None else None,
        tell=lambda text: console.print(text, markup=False),
    )
    measure_parts(run, job, target, arguments)
    return 0
