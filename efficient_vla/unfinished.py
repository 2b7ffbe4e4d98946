# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a measurement, its files and its processes when a request to end comes."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from efficient_vla.interrupts import Interrupted, exit_code, handled

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def carrying(found: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Let a request to end carry out of the block what ``found`` returns then."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(found(), exit_code(stop)) from stop


@contextmanager
def saving(save: Callable[[], None]) -> Iterator[None]:
    """Call ``save`` at the end of the block, and where a request to end breaks it off."""
    try:
        yield
    except KeyboardInterrupt:
        with postponed():
            save()
        raise
    save()


@contextmanager
def postponed() -> Iterator[None]:
    """Hold requests to end back until the block is over.

    A process that is started while its parent unwinds would be known to nobody.
    """
    arrived: list[int] = []
    with handled(ENDINGS, lambda number, _: arrived.append(number)):
        yield
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
