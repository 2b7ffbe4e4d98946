# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench policies``."""

import argparse
import os
from pathlib import Path
from typing import Any

from efficient_vla.cli.options import add_overrides
from efficient_vla.cli.run_options import (
    MOST_THREADS,
    add_part,
    refuse_above,
    writable_file,
    written,
)
from efficient_vla.errors import UsageError

REPEATS, QUICK_REPEATS = 20, 3


def add_parsers(parts: Any) -> None:
    """Declare the command."""
    text = "load time, memory and stages of a folder, beside LeRobot's own class"
    example = (
        'pretrained_model --peer-python lerobot/bin/python --json policies.json\n'
        '  efficient-vla bench policies pretrained_model --set perception.cache.method=patch '
        '--changed 0.1'
    )
    part = add_part(parts, 'policies', text, example, _main)
    part.add_argument(
        'folders',
        metavar='FOLDER',
        nargs='*',
        type=Path,
        help='policy folder; without one, those that the package ships',
    )
    part.add_argument('--quick', action='store_true', help=f'{QUICK_REPEATS} chunks of each')
    part.add_argument(
        '--peer-python',
        metavar='PYTHON',
        type=Path,
        help='Python that has LeRobot, whose own class makes chunks in turn with ours',
    )
    part.add_argument(
        '--threads',
        metavar='N',
        type=int,
        default=len(os.sched_getaffinity(0)),
        help='of each side while it computes (default: %(default)s)',
    )
    add_overrides(part)
    part.add_argument(
        '--changed',
        metavar='SHARE',
        type=float,
        default=0.0,
        help='share of each image that is new in every turn, for caches (default: %(default)s)',
    )
    part.add_argument('--json', metavar='OUT', type=Path, help='file for the result')


def _main(arguments: argparse.Namespace) -> int:
    from benchmarks.policies.measure import measure
    from efficient_vla.cli.display import console, policy_table

    if arguments.threads < 1:
        raise UsageError(f'--threads is {arguments.threads}; expected 1 or more.')
    refuse_above(arguments, MOST_THREADS, 'threads')
    if not 0 <= arguments.changed <= 1:
        raise UsageError(f'--changed is {arguments.changed}; expected a share from 0 to 1.')
    target = writable_file(arguments.json) if arguments.json else None
    repeats = QUICK_REPEATS if arguments.quick else REPEATS
    rows = []
    with written(target) as write:
        for folder in arguments.folders or shipped():
            rows.append(
                measure(
                    folder,
                    repeats,
                    arguments.peer_python,
                    arguments.threads,
                    arguments.overrides,
                    arguments.changed,
                )
            )
            error = rows[-1].get('peer', {}).get('error')
            if error:
                console.print(f"{folder}: LeRobot's own class fails: {error}")
        write({'threads': arguments.threads, 'rows': rows})
    console.print(policy_table(rows))
    return 0


def shipped() -> list[Path]:
    """Return the policy folders that the package brings along."""
    from efficient_vla.policy import default_policy
    from efficient_vla.policy_folders import why_none

    folders = sorted(path for path in default_policy().parent.iterdir() if path.is_dir())
    return [folder for folder in folders if not why_none(folder)]
