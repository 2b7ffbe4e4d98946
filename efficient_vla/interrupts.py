# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and other requests to end, so that no process stays behind. Main thread only."""

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_INTERRUPTED = 128 + signal.SIGINT


class Interrupted(KeyboardInterrupt):
    """A request to end, with what was measured before it came."""

    def __init__(self, found: Mapping[str, Any], code: int) -> None:
        super().__init__()
        self.found = found
        """Empty where nothing was measured."""
        self.code = code
        """Exit code of the program."""


@contextmanager
def carrying(found: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Let a request to end carry out of the block what ``found`` returns then."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(found(), exit_code(stop)) from stop


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return the exit code of a program that a request to end unwinds."""
    return stop.code if isinstance(stop, Interrupted) else EXIT_INTERRUPTED


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
    with _handled(ENDINGS, lambda number, _: arrived.append(number)):
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


@contextmanager
def unwinding() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the program like Ctrl-C does; under nohup SIGHUP does not."""

    def unwind(number: int, _: Any) -> None:
        raise Interrupted({}, 128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    with _handled([n for n in numbers if signal.getsignal(n) != signal.SIG_IGN], unwind):
        yield


@contextmanager
def _handled(numbers: Iterable[int], handler: Callable[[int, Any], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
