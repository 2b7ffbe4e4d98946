# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and other requests to end, so that no process stays behind. Main thread only."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def postponed() -> Iterator[None]:
    """Hold requests to end back until the block is over.

    A process that is started while its parent unwinds would be known to nobody.
    """
    arrived: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: arrived.append(number))
        for number in ENDINGS
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Let processes that are started meanwhile never get Ctrl-C: their parent ends them.

    A worker that still imports would answer it with a traceback.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def unwinding() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the program like Ctrl-C does."""

    def unwind(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.signal(number, unwind) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
