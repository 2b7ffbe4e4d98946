# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One child process of the supervisor: start, signals, exit, processor and memory use."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def spawn(
    command: Sequence[str], environment: Mapping[str, str], log: Path | None
) -> 'subprocess.Popen[bytes]':
    """Start a process that leads its own group and does not outlive this one.

    Its group keeps a Ctrl-C of the terminal away from it: only the supervisor ends it. The kernel
    sends it SIGTERM when the thread that called this ends, however that happens; call it from
    the main thread.
    """
    output = None if log is None else log.open('ab')
    try:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
            preexec_fn=partial(tie_to, os.getpid()),
        )
    finally:
        if output is not None:
            output.close()


def tie_to(parent: int) -> None:
    """Let this process end with the thread of ``parent`` that started it; at once if it is gone."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def terminate(process: 'subprocess.Popen[bytes]') -> None:
    """Ask a process and the helpers that its libraries may have started to end, by SIGTERM.

    SIGINT would make each Python among them that still imports print a traceback.
    """
    send(process, signal.SIGTERM)


def send(process: 'subprocess.Popen[bytes]', number: signal.Signals) -> None:
    """Send a signal to the whole group of a process, or to nobody when it has gone."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return


def use(process: psutil.Process) -> tuple[float, float]:
    """Return the processor use since the last call [%] and the resident memory in 1e6 bytes.

    Both are 0 when the process has gone.
    """
    try:
        return process.cpu_percent(), process.memory_info().rss / 1e6
    except psutil.Error:
        return 0.0, 0.0


def exit_text(code: int) -> str:
    """Return an exit code in words, with the name of the signal that ended the process."""
    if code >= 0:
        return f'exit code {code}'
    try:
        return f'ended by {signal.Signals(-code).name}'
    except ValueError:
        return f'ended by signal {-code}'
