# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How many camera images the middleware loses between two processes, and how late they are."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np

from efficient_vla.bringup.fastdds import profile_variable
from efficient_vla.bringup.graph import middleware
from efficient_vla.bringup.parameter_files import held_in_memory
from efficient_vla.errors import UsageError

AS_IT_COMES = """<dds xmlns="http://www.eprosima.com"><profiles>
<participant profile_name="as_it_comes" is_default_profile="true"><rtps/></participant>
</profiles></dds>
"""
"""A profile that changes nothing; Fast DDS complains of an empty file, on stdout."""
START_TIMEOUT_S = 60.0
"""Two interpreters that import rclpy on a machine whose cores are busy."""


def measure_images(
    width: int, height: int, rate: float, seconds: float, profile: bool = True
) -> dict[str, Any]:
    """Send rgb images from one process to another and count what arrives.

    ``rate`` is in images a second. Without ``profile`` the middleware runs as it comes. Returns
    ``sent``, ``received``, ``lost``, ``latency_ms`` from publish to callback with ``p50``, ``p95``
    and ``max``, and the arguments. The receiver is nobody else's: a graph that runs in the
    same domain is not disturbed but by the load.

    Raises ``UsageError`` when a process fails or nothing arrives.
    """
    count = max(1, round(rate * seconds))
    environ = {**os.environ, **middleware(os.environ)}
    if not profile:
        environ[profile_variable(environ)] = str(held_in_memory(AS_IT_COMES))
    words = ['--width', str(width), '--height', str(height), '--rate', str(rate)]
    module = [sys.executable, '-m', 'efficient_vla.nodes.client.image_probe']
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
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer
