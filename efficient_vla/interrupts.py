# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and other requests to end, so that no process stays behind. Main thread only."""

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

EXIT_INTERRUPTED = 128 + signal.SIGINT


class Interrupted(KeyboardInterrupt):
    """A request to end, with what was measured before it came."""

    def __init__(self, found: Mapping[str, Any], code: int) -> None:
        super().__init__()
        self.found = found
        """Empty where nothing was measured."""
        self.code = code
        """Exit code of the program."""


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return the exit code of a program that a request to end unwinds."""
    return stop.code if isinstance(stop, Interrupted) else EXIT_INTERRUPTED


@contextmanager
def unwinding() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the program like Ctrl-C does; under nohup SIGHUP does not."""

    def unwind(number: int, _: Any) -> None:
        raise Interrupted({}, 128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    with handled([n for n in numbers if signal.getsignal(n) != signal.SIG_IGN], unwind):
        yield


@contextmanager
def handled(numbers: Iterable[int], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Let ``handler`` take the signals ``numbers`` until the block is over."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
