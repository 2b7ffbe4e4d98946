# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of chunks by the model of the arm, beside the control loop."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from efficient_vla.control.kinematics.checks import Checked
from efficient_vla.worker import LatestWorker

SWITCH_S = 2e-4
"""A thread of Python that computes gives way to the loop after so long."""

Cause = TypeVar('Cause')


@dataclass(frozen=True, slots=True)
class Examined(Generic[Cause]):
    """A check that is over."""

    cause: Cause
    """What it was asked for."""
    checked: Checked | None
    """``None`` where the check failed."""
    error: str = ''


class Examiner(Generic[Cause]):
    """Runs checks on a thread of its own; a newer one replaces one that waits.

    That thread takes the lock of Python: it has the scheduling of the loop, one less urgent, so
    that no other process keeps it from giving the lock back.
    """

    def __init__(self) -> None:
        self._over: deque[Examined[Cause]] = deque()
        self._worker = LatestWorker[tuple[Cause, Callable[[], Checked]]](
            'examiner', self._run, lambda error: None
        )

    def tune(self) -> None:
        """Let the loop in while a check runs; to be called on the thread of the loop."""
        sys.setswitchinterval(SWITCH_S)
        policy = os.sched_getscheduler(0)
        urgency = os.sched_getparam(0).sched_priority

        def follow() -> None:
            with suppress(OSError):
                os.sched_setscheduler(0, policy, os.sched_param(max(urgency - 1, urgency and 1)))

        self._worker.call(follow)

    def submit(self, cause: Cause, check: Callable[[], Checked]) -> None:
        """Run ``check`` soon; ``over`` tells its result with ``cause``."""
        self._worker.submit((cause, check))

    def over(self) -> Iterator[Examined[Cause]]:
        """Yield what is over and was not told yet."""
        while self._over:
            yield self._over.popleft()

    def forget(self) -> None:
        """Drop what waits and what is over."""
        self._worker.discard()
        self._over.clear()

    def close(self) -> None:
        """End the thread."""
        self._worker.stop(1.0)

    def _run(self, job: tuple[Cause, Callable[[], Checked]]) -> None:
        cause, check = job
        try:
            self._over.append(Examined(cause, check()))
        except Exception as error:
            self._over.append(Examined(cause, None, f'{type(error).__name__}: {error}'))
