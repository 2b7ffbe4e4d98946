# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of several parts, ``tokens``, ``motion`` and ``decoding``, share."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from efficient_vla.cli.options import add_policy, refuse_below, task_list
from efficient_vla.errors import UsageError
from efficient_vla.sim.episodes import jobs


def add_run(parser: argparse.ArgumentParser, parts: Sequence[str], quick: str) -> None:
    """Add what every run has; ``quick`` says what its tiny sizes are good for."""
    add_policy(parser)
    parser.add_argument(
        '--parts',
        metavar='A,B',
        type=task_list,
        default=parts,
        help=f'what to measure (default: {",".join(parts)})',
    )
    parser.add_argument('--quick', action='store_true', help=quick)
    parser.add_argument(
        '--resume',
        action='store_true',
        help='keep the rows of OUT and measure what is missing; otherwise OUT begins anew',
    )
    parser.add_argument('--tasks', metavar='A,B', type=task_list, help='Meta-World tasks')
    parser.add_argument(
        '--seed',
        metavar='S',
        type=int,
        default=1000,
        help='seed of the first episode (default: %(default)s)',
    )
    parser.add_argument('--json', metavar='OUT', type=Path, required=True, help='file for the rows')


def refuse_unknown(given: Sequence[str], parts: Sequence[str]) -> None:
    """Raise ``UsageError`` where a part that was given is none of ``parts``."""
    unknown = [name for name in given if name not in parts]
    if unknown:
        raise UsageError(f'unknown part {unknown[0]!r}; expected some of {", ".join(parts)}.')


def resized(arguments: argparse.Namespace, sizes: Any, names: Sequence[str]) -> Any:
    """Return ``sizes`` with those of ``names`` that were given; refuse what cannot be measured."""
    refuse_below(arguments, 1, *(name for name in names if name != 'tasks'))
    given = {
        name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None
    }
    found = replace(sizes, **given)
    jobs(found.tasks, arguments.seed, found.episodes)
    return found


def measure_parts(run: Any, job: Any, target: Path, arguments: argparse.Namespace) -> Any:
    """Measure the parts that were asked for, in the order of ``run.PARTS``; return the rows.

    ``run`` is the module of the benchmark. Rows, pages and pictures are written.
    """
    rows = job.open_rows(target, arguments.resume)
    for name, measure in run.PARTS.items():
        if name in arguments.parts:
            measure(job, rows)
    rows.write()
    for path in run.write_page(rows):
        job.tell(f'wrote {path}')
    return rows
