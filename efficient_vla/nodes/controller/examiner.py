# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of chunks by the model of the arm, beside the control loop."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from efficient_vla.control.kinematics.checks import Model
from efficient_vla.control.kinematics.loading import DescribedArm
from efficient_vla.control.kinematics.wire import CheckFailedError
from efficient_vla.control.laid import Laid
from efficient_vla.nodes.controller.elsewhere import CheckedElsewhere
from efficient_vla.worker import LatestWorker

Cause = TypeVar('Cause')
LONG_S = 1.0
"""A check that takes longer is told of."""


@dataclass(frozen=True, slots=True)
class Examined(Generic[Cause]):
    """A check that is over."""

    cause: Cause
    """What it was asked for."""
    laid: Laid | None
    """``None`` where the check failed."""
    error: str = ''


@dataclass(frozen=True, slots=True)
class Examination(Generic[Cause]):
    """A check that waits or runs."""

    cause: Cause
    check: Callable[[], Laid]
    over: deque[Examined[Cause]]
    """Where its result goes."""


class Examiner(Generic[Cause]):
    """Runs checks on a thread of its own; a newer one replaces one that waits."""

    def __init__(self) -> None:
        self._elsewhere: CheckedElsewhere | None = None
        self._over: deque[Examined[Cause]] = deque()
        self._worker = LatestWorker[Examination[Cause]]('examiner', self._run, lambda error: None)

    def elsewhere(self, arm: DescribedArm, model: Model, nice: int) -> Model:
        """Return ``model`` of ``arm`` with its checks in a process of its own niceness."""
        self.forget()
        self._elsewhere = found = CheckedElsewhere(arm, model, nice)
        self._worker.call(found.start)
        return found

    def submit(self, cause: Cause, check: Callable[[], Laid]) -> None:
        """Run ``check`` soon; ``over`` tells its result with ``cause``."""
        self._worker.submit(Examination(cause, check, self._over))

    def over(self) -> Iterator[Examined[Cause]]:
        """Yield what is over and was not told yet."""
        while self._over:
            yield self._over.popleft()

    def late(self) -> str | None:
        """Return in words that a check takes long, ``None`` while none does."""
        takes = self._worker.busy_s if self._worker.in_pass else 0.0
        if takes < LONG_S:
            return None
        return f'a check of a chunk has taken {takes:.0f} s so far; its chunk waits'

    def forget(self) -> None:
        """Drop what waits, what runs and what is over, and end the process."""
        if self._elsewhere is not None:
            self._elsewhere.close()
        self._worker.discard()
        self._over = deque()

    def close(self) -> None:
        """End the process and the thread."""
        self.forget()
        self._worker.stop(1.0)

    def _run(self, job: Examination[Cause]) -> None:
        try:
            job.over.append(Examined(job.cause, job.check()))
        except Exception as error:
            text = str(error) if isinstance(error, CheckFailedError) else repr(error)
            job.over.append(Examined(job.cause, None, text))
