# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Making demonstrations ends without a trace when it is interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def workers(pid: int) -> list[int]:
    """Return the processes that make episodes; another child only tracks what they share."""
    children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    commands = {int(child): Path(f'/proc/{child}/cmdline').read_text() for child in children}
    return [child for child, command in commands.items() if 'spawn_main' in command]


def test_interrupt_ends_every_worker_and_prints_no_traceback(tmp_path):
    words = ['data', '--tasks', 'reach-v3', '--workers', '2', '--out', str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, '-m', 'efficient_vla.cli', *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while len(workers(process.pid)) < 2 and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        # The pipes close only when the last process that holds them has ended.
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors == ''
