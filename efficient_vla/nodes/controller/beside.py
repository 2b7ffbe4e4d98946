# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Work that the control loop does not wait for, on a thread of its own."""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

Work = Callable[[], None]
CLOSE_TIMEOUT_S = 1.0
LONG_S = 0.5
"""Work that takes longer is told of."""


class Beside:
    """Does what it is given; of each kind that waits, the newest alone.

    On its thread, ``failed`` is told of errors, and ``well`` of work that had none. ``inline`` says
    whether the caller does it at once instead, as in simulated time, where a robot in lockstep
    waits for all that follows from a tick.
    """

    def __init__(
        self,
        failed: Callable[[str, Exception], None],
        well: Callable[[str], None],
        inline: Callable[[], bool],
    ):
        self._failed, self._well = failed, well
        self._inline = inline
        self._waiting: dict[str, Work] = {}
        # The loop never waits for its lock, as it might for that of a condition.
        self._wakes: SimpleQueue[threading.Event | None] = SimpleQueue()
        self._idle = threading.Event()
        self._began: float | None = None
        """When the work that runs began, by the steady clock [s]."""
        self._thread = threading.Thread(target=self._run, name='beside', daemon=True)
        self._thread.start()

    def do(self, kind: str, work: Work) -> None:
        """Do ``work`` soon, in place of what waits of its kind."""
        if self._inline():
            work()
            return
        self._waiting[kind] = work
        # One that is not taken yet looks at all that waits.
        if self._wakes.empty():
            self._wakes.put(self._idle)

    def late(self) -> str | None:
        """Return in words that nothing is done any more, ``None`` while all is well."""
        if not self._thread.is_alive():
            return 'the thread that publishes the status ended. Start the controller anew.'
        began = self._began
        taken = 0.0 if began is None else time.monotonic() - began
        if taken <= LONG_S:
            return None
        return (
            f'publishing has taken longer than {LONG_S} s; status and statistics wait. Look at the '
            'middleware and at the load of this machine.'
        )

    def finish(self) -> bool:
        """Wait until what was given so far is done; return whether that took too long.

        No longer than ``CLOSE_TIMEOUT_S``.
        """
        done = threading.Event()
        self._wakes.put(done)
        return not done.wait(CLOSE_TIMEOUT_S)

    def close(self) -> None:
        """End the thread after what was given so far."""
        self._wakes.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while (done := self._wakes.get()) is not None:
            while self._waiting:
                self._do(self._waiting.popitem()[1])
            done.set()

    def _do(self, work: Work) -> None:
        self._began = time.monotonic()
        try:
            work()
        except Exception as error:
            self._failed('beside', error)
        else:
            self._well('beside')
        finally:
            self._began = None
