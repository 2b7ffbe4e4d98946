# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One thread for long work, with a single slot in front of it."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

Job = TypeVar('Job')


class LatestWorker(Generic[Job]):
    """Run the newest job on a thread of its own; a newer job replaces one that waits.

    ``work`` and ``failed`` are called on that thread. An error in ``work`` goes to ``failed`` and
    the thread lives on.
    """

    def __init__(
        self, name: str, work: Callable[[Job], None], failed: Callable[[Exception], None]
    ) -> None:
        self.dropped = 0
        self.in_pass = False
        """Whether what runs now is a job, and no function that was called."""
        self._work = work
        self._failed = failed
        self._condition = threading.Condition()
        self._job: Job | None = None
        self._calls: deque[Callable[[], None]] = deque()
        self._busy = False
        self._began: float | None = None
        self._stopping = False
        # A daemon: a pass that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        with self._condition:
            return not self._busy and self._job is None and not self._calls

    @property
    def busy_s(self) -> float:
        """How long a job or function runs now, by the steady clock [s]; 0 while none does."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def submit(self, job: Job) -> None:
        """Run ``job`` next; a job that still waits is dropped and counted."""
        with self._condition:
            if self._job is not None:
                self.dropped += 1
            self._job = job
            self._condition.notify_all()

    def call(self, function: Callable[[], None]) -> None:
        """Run ``function`` between two jobs, before any job that waits."""
        with self._condition:
            self._calls.append(function)
            self._condition.notify_all()

    def ask(self, function: Callable[[], None], timeout: float) -> None:
        """Run ``function`` as ``call`` does, and wait for its end.

        Raises what it raises, and ``TimeoutError`` where it has not ended within ``timeout`` [s].
        Where it had not begun, it does not run later.
        """
        asked: Future[None] = Future()

        def run() -> None:
            if not asked.set_running_or_notify_cancel():
                return
            try:
                function()
            except BaseException as error:
                asked.set_exception(error)
            else:
                asked.set_result(None)

        self.call(run)
        if not wait([asked], timeout).done:
            what = 'was busy' if asked.cancel() else 'was at it'
            raise TimeoutError(f'{self._thread.name} {what} for more than {timeout} s')
        asked.result()

    def discard(self) -> None:
        """Forget the job that waits, if any."""
        with self._condition:
            self._job = None

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing runs or waits; return whether that happened within ``timeout`` [s]."""
        with self._condition:
            return self._condition.wait_for(
                lambda: not self._busy and self._job is None and not self._calls, timeout
            )

    def stop(self, timeout: float) -> bool:
        """End the thread after what runs now and the calls that wait.

        Returns whether it ended within ``timeout`` [s].
        """
        with self._condition:
            self._stopping = True
            self._job = None
            self._condition.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy, self._began = False, None
                self._condition.notify_all()
                self._condition.wait_for(
                    lambda: self._stopping or self._calls or self._job is not None
                )
                if self._stopping and not self._calls:
                    return
                self._busy, self._began = True, time.monotonic()
                function = self._calls.popleft() if self._calls else None
                job = None
                if function is None:
                    job, self._job = self._job, None
                self.in_pass = function is None
            try:
                if function is not None:
                    function()
                elif job is not None:
                    self._work(job)
            except Exception as error:
                self._failed(error)
            # Do not keep the last frame alive while waiting for the next one.
            del function, job
