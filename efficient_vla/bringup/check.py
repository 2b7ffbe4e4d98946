# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The outcome of one check of `efficient-vla doctor`, and how to ask in a process of its own."""

import subprocess
import sys
from dataclasses import dataclass
from enum import Enum

PROBE_TIMEOUT_S = 120.0


class Result(Enum):
    """How a check ended."""

    OK = 'OK'
    WARN = 'WARN'
    FAIL = 'FAIL'


@dataclass(frozen=True, slots=True)
class Check:
    """One question about the installation, its answer, and what to do about it."""

    name: str
    result: Result
    detail: str
    remedy: str = ''
    """A command or setting that mends it; empty when nothing is wrong."""


def judged(
    name: str, detail: str, fault: str = '', remedy: str = '', otherwise: Result = Result.WARN
) -> Check:
    """Return that all is well, or what is at ``fault`` with ``detail`` and what mends it."""
    if fault:
        return Check(name, otherwise, f'{detail}; {fault}', remedy)
    return Check(name, Result.OK, detail)


def probed(name: str, code: str, remedy: str, otherwise: Result = Result.FAIL) -> Check:
    """Run code in a process of its own; its last line is the detail.

    For imports that may fail, crash, or load ROS or a simulator.
    """
    try:
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', code],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check(name, otherwise, f'no answer within {PROBE_TIMEOUT_S:.0f} s', remedy)
    if done.returncode == 0:
        return Check(name, Result.OK, _last_line(done.stdout))
    reason = _last_line(done.stderr) or f'ended by signal or with code {done.returncode}'
    return Check(name, otherwise, reason, remedy)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ''
