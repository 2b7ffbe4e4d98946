# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What all tests of the graph share: waiting for conditions instead of sleeping."""

import os
import select
import threading
import time
from collections.abc import Callable

import pytest

POLL_S = 0.02


def wait_until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    """Look again and again until ``condition`` holds; fail after ``timeout`` [s]."""
    end = time.monotonic() + timeout
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, f'not within {timeout} s: {what}'
        pause.wait(POLL_S)


def wait_gone(pid: int, timeout: float) -> None:
    """Wait until a process that is not a child of ours has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([descriptor], [], [], timeout)
        assert ready, f'process {pid} still runs after {timeout} s'
    finally:
        os.close(descriptor)


@pytest.fixture(name='wait_until')
def provide_wait_until() -> Callable[[Callable[[], bool], float, str], None]:
    return wait_until


@pytest.fixture(name='wait_gone')
def provide_wait_gone() -> Callable[[int, float], None]:
    return wait_gone
