# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How many camera images the middleware loses between two processes, and how late they are."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from efficient_vla.bench.errors import UsageError
from efficient_vla.nodes.graph import middleware

SIZES = ('640x480', '1280x720')
START_TIMEOUT_S = 60.0
"""Two interpreters that import rclpy on a machine whose cores are busy."""


def measure_images(
    width: int, height: int, rate: float, seconds: float, profile: bool = True
) -> dict[str, Any]:
    """Send rgb images from one process to another and count what arrives.

    ``rate`` is in images a second. Without ``profile`` the middleware runs as it comes. Returns
    ``sent``, ``received``, ``lost``, ``latency_ms`` from publish to callback with ``p50``, ``p95``
    and ``max``, and what was asked for. The receiver is nobody else's: a graph that runs in the
    same domain is not disturbed but by the load.

    Raises ``UsageError`` when a process fails or nothing arrives.
    """
    count = max(1, round(rate * seconds))
    environ = {**os.environ, **middleware(os.environ)}
    if not profile:
        for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
            environ[name] = os.devnull
    words = ['--width', str(width), '--height', str(height), '--rate', str(rate)]
    module = [sys.executable, '-m', 'efficient_vla.nodes.image_probe']
    sides = {
        side: subprocess.Popen(
            [*module, side, *words, '--count', str(count)],
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for side in ('receive', 'publish')
    }
    try:
        answers = {side: _answer(side, process, seconds) for side, process in sides.items()}
    finally:
        for process in sides.values():
            process.kill()
            process.communicate()
    latencies = answers['receive']['latencies_ms']
    p50, p95, worst = np.percentile(latencies, (50, 95, 100)) if latencies else (np.nan,) * 3
    received = answers['receive']['received']
    return {
        'width': width,
        'height': height,
        'rate': rate,
        'seconds': seconds,
        'sent': count,
        'received': received,
        'lost': count - received,
        'latency_ms': {'p50': float(p50), 'p95': float(p95), 'max': float(worst)},
    }


def _answer(side: str, process: 'subprocess.Popen[str]', seconds: float) -> dict[str, Any]:
    try:
        output, errors = process.communicate(timeout=seconds + START_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f'the process that should {side} images was not done after '
            f'{seconds + START_TIMEOUT_S:.0f} s. Check the middleware with efficient-vla doctor.'
        ) from error
    if process.returncode:
        raise UsageError(f'the process that should {side} images failed: {errors.strip()[-800:]}')
    answer: dict[str, Any] = json.loads(output)
    return answer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``efficient-vla bench transport``."""
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
    table = Table('size', 'rate [Hz]', 'sent', 'lost', 'p50 [ms]', 'p95 [ms]', 'max [ms]')
    results = []
    for width, height in arguments.size or [_size(text) for text in SIZES]:
        found = measure_images(
            width, height, arguments.rate, arguments.seconds, not arguments.no_profile
        )
        results.append(found)
        times = [f'{found["latency_ms"][name]:.1f}' for name in ('p50', 'p95', 'max')]
        table.add_row(
            f'{width}x{height}',
            f'{arguments.rate:g}',
            str(found['sent']),
            str(found['lost']),
            *times,
        )
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({'images': results}, indent=2) + '\n')
    return int(any(found['lost'] for found in results))


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition('x')
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f'{text!r} is not a size such as 640x480.')
    return int(width), int(height)
