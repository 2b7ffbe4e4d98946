# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench roundtrip``."""

import argparse
import os
from pathlib import Path
from typing import Any

from efficient_vla.cli.run_options import (
    add_part,
    add_seed,
    policy_folder,
    refuse_unknown,
    task_list,
    writable_file,
)
from efficient_vla.errors import UsageError

TASKS = 'button-press-v3', 'drawer-open-v3', 'window-close-v3'
WAYS = 'lerobot', 'process'


def add_parsers(parts: Any) -> None:
    """Declare the part and its options."""
    text = "success of a folder in LeRobot's own class and in ours"
    example = 'act-metaworld --peer-python lerobot/bin/python --json roundtrip.json'
    parser = add_part(parts, 'roundtrip', text, example, main)
    parser.add_argument('folders', metavar='FOLDER', nargs='+', help='policy folder of LeRobot')
    parser.add_argument(
        '--ways',
        metavar='A,B',
        type=task_list,
        default=WAYS,
        help=f'who drives the arm (default: {",".join(WAYS)})',
    )
    parser.add_argument(
        '--peer-python',
        metavar='PYTHON',
        type=Path,
        help='Python that has LeRobot, for the way lerobot',
    )
    parser.add_argument(
        '--hub',
        metavar='DIR',
        type=Path,
        default=Path('hub'),
        help='hub cache of the training, for the way lerobot (default: %(default)s)',
    )
    parser.add_argument(
        '--tasks',
        metavar='A,B',
        type=task_list,
        default=TASKS,
        help=f'Meta-World tasks (default: {",".join(TASKS)})',
    )
    parser.add_argument(
        '--episodes',
        metavar='N',
        type=int,
        default=50,
        help='episodes a task (default: %(default)s)',
    )
    add_seed(parser)
    parser.add_argument(
        '--json',
        metavar='OUT',
        type=Path,
        required=True,
        help='file for the rows; what it holds already is not measured again',
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure, and print success by folder and way."""
    refuse_unknown('way', arguments.ways, WAYS)
    peer = arguments.peer_python
    if 'lerobot' in arguments.ways and (peer is None or not os.access(peer, os.X_OK)):
        raise UsageError(
            f'--peer-python is {peer}; expected the Python of an environment with LeRobot, whose '
            'own class drives in the way lerobot. Name it, or choose --ways process.'
        )
    from benchmarks.roundtrip.run import Run, measure, table
    from efficient_vla.cli.display import console
    from efficient_vla.sim.episodes import jobs

    jobs(arguments.tasks, arguments.seed, arguments.episodes)
    folders = [policy_folder(folder) for folder in arguments.folders]
    target = writable_file(arguments.json)
    run = Run(
        arguments.tasks,
        arguments.episodes,
        arguments.seed,
        str(peer or ''),
        arguments.hub.resolve(),
    )
    console.print(table(measure(run, folders, arguments.ways, target)), soft_wrap=True)
    return 0
