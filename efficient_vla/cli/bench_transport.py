# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla bench transport``."""

import argparse
import math
from pathlib import Path
from typing import Any

from efficient_vla.cli.run_options import add_part, writable_file, written
from efficient_vla.errors import UsageError
from efficient_vla.unfinished import carrying

SIZES = ('640x480', '1280x720')


def add_parsers(parts: Any) -> None:
    """Declare the part and its options."""
    example = '--seconds 15 --json transport.json'
    parser = add_part(parts, 'transport', 'images between processes', example, main)
    parser.add_argument(
        '--size',
        metavar='WxH',
        type=_size,
        action='append',
        default=[],
        help=f'image size; may be repeated (default: {" and ".join(SIZES)})',
    )
    parser.add_argument(
        '--rate',
        metavar='HZ',
        type=float,
        default=30.0,
        help='images a second (default: %(default)s)',
    )
    parser.add_argument(
        '--seconds',
        metavar='S',
        type=float,
        default=20.0,
        help='length of each measurement (default: %(default)s)',
    )
    parser.add_argument(
        '--no-profile',
        action='store_true',
        help='without the shipped middleware profile, to see what it is for',
    )
    parser.add_argument('--json', metavar='OUT', type=Path, help='file for the result')


def main(arguments: argparse.Namespace) -> int:
    """Measure each size; return 0 when nothing was lost, else 1."""
    from rich.table import Table

    from benchmarks.transport import measure_images
    from efficient_vla.bench.manifest import manifest
    from efficient_vla.cli.display import console

    for name in ('rate', 'seconds'):
        value = getattr(arguments, name)
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f'--{name} is {value}; expected a finite number above 0.')
    target = writable_file(arguments.json) if arguments.json else None
    profile = not arguments.no_profile
    results: list[dict[str, Any]] = []
    facts = manifest(None, {}, profile=profile)

    def measured() -> dict[str, Any]:
        return {'images': results, 'manifest': facts} if results else {}

    with written(target) as write, carrying(measured):
        for width, height in arguments.size or [_size(text) for text in SIZES]:
            row = measure_images(width, height, arguments.rate, arguments.seconds, profile)
            results.append(row)
        write(measured())
    table = Table('size', 'rate [Hz]', 'sent', 'lost', 'p50 [ms]', 'p95 [ms]', 'max [ms]')
    for row in results:
        table.add_row(
            f'{row["width"]}x{row["height"]}',
            f'{arguments.rate:g}',
            str(row['sent']),
            str(row['lost']),
            *(f'{row["latency_ms"][name]:.1f}' for name in ('p50', 'p95', 'max')),
        )
    console.print(table)
    return int(any(row['lost'] for row in results))


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition('x')
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f'{text!r} is not a size such as 640x480.')
    return int(width), int(height)
