# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench serving``."""

import argparse
from pathlib import Path
from typing import Any

from efficient_vla.cli.run_options import (
    add_part,
    add_policy,
    add_seed,
    policy_folder,
    writable_file,
    written,
)


def add_parsers(parts: Any) -> None:
    """Declare the part and its options."""
    text = "servers and clients of openpi's protocol, and a server that dies"
    parser = add_part(parts, 'serving', text, '--openpi ../openpi --json serving.json', main)
    parser.add_argument(
        '--openpi',
        metavar='CHECKOUT',
        type=Path,
        required=True,
        help='checkout of openpi, whose own client and server are used',
    )
    add_policy(parser)
    parser.add_argument('--task', default='reach-v3', help='task (default: %(default)s)')
    add_seed(parser)
    parser.add_argument('--json', metavar='OUT', type=Path, help='file for the result')


def main(arguments: argparse.Namespace) -> int:
    """Measure; 0 where both episodes succeeded."""
    from benchmarks.serving.run import measure
    from efficient_vla.cli.display import console
    from efficient_vla.cli.live import LiveObserver
    from efficient_vla.sim.episodes import jobs

    ((task, seed),) = jobs([arguments.task], arguments.seed, 1)
    target = writable_file(arguments.json) if arguments.json else None
    policy = policy_folder(arguments.policy)

    def show(row: dict[str, Any]) -> None:
        values = ', '.join(
            f'{name} {value:.3g}' if isinstance(value, float) else f'{name} {value}'
            for name, value in row.items()
            if name != 'name'
        )
        console.print(f'{row["name"]}: {values}', soft_wrap=True, highlight=False)

    with written(target) as write, LiveObserver(console, 1) as observer:
        found = measure(arguments.openpi.resolve(), policy.resolve(), task, seed, observer, show)
        write(found)
    return int(not all(row.get('success', True) for row in found['rows']))
