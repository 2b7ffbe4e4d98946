# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What simulated time waits for in lockstep, so that results do not depend on the machine."""

import threading
from collections.abc import Callable

IDLE_FRAME_WAIT_S = 0.1
"""Wall time that a frame gets while nobody has answered one in this episode."""
REPEAT_S = 0.1
"""Wall time between two repetitions: the clock is best effort, and time stands if it is lost."""
ROUNDING_S = 1e-6
"""Stamps travel as whole nanoseconds and are compared as seconds."""


class LockstepGate:
    """Knows how far controller and reasoner are, and lets the physics thread wait for them.

    Whoever calls from another thread holds no lock; ``changed`` is that of the robot.
    """

    def __init__(
        self,
        changed: threading.Condition,
        interrupted: Callable[[], bool],
        fault: Callable[[str], None],
        repeat: Callable[[float], None],
    ) -> None:
        """``interrupted`` ends every wait; ``fault`` takes a reason, or '' when it has gone.

        ``repeat`` says again what others may have missed; it takes the time waited so far [s].
        """
        self._changed = changed
        self._interrupted = interrupted
        self._fault = fault
        self._repeat = repeat
        self._following = False
        self._observed = 0.0
        self._planned = 0.0
        self._answered = False

    def restart(self) -> None:
        """Begin an episode that nobody follows yet."""
        self._answered = False

    def controller_report(self, following: bool, observed: float) -> None:
        """Note whether the controller is enabled and the capture time [s] behind its chunk."""
        with self._changed:
            self._following = following
            self._observed = observed
            self._changed.notify_all()

    def plan_report(self, stamp: float) -> None:
        """Note the capture time [s] of the image behind the newest plan."""
        with self._changed:
            self._planned = stamp
            self._changed.notify_all()

    @property
    def followed(self) -> bool:
        """Whether an enabled controller answers the images of this episode."""
        self._answered = self._answered and self._following
        return self._answered

    def await_command(self, newest: Callable[[], float], stamp: float, timeout: float) -> None:
        """Wait until the stamp [s] of the ``newest`` command has reached ``stamp``."""
        self._wait(
            lambda: newest() >= stamp - ROUNDING_S,
            f'no command for simulated time {stamp:.4f} s',
            timeout,
        )

    def await_chunk(self, stamp: float, first_stamp: float, timeout: float) -> None:
        """Wait until the controller follows a chunk of the image of ``stamp`` [s].

        The plan of that image must have come too, so that the next chunk always follows it.
        ``first_stamp`` is the beginning of the episode.
        """

        def observed() -> bool:
            return min(self._observed, self._planned) >= stamp - ROUNDING_S

        with self._changed:
            # A controller that nobody enabled, or that has no plan yet, must not stop time.
            if not self._answered:
                self._changed.wait_for(lambda: observed() or self._interrupted(), IDLE_FRAME_WAIT_S)
                self._answered = self._following and self._observed >= first_stamp - ROUNDING_S
        if self._answered:
            what = f'no plan or chunk of the image of simulated time {stamp:.4f} s'
            self._wait(observed, what, timeout)

    def _wait(self, ready: Callable[[], bool], what: str, timeout: float) -> None:
        waited = 0.0
        with self._changed:
            while not self._changed.wait_for(
                lambda: ready() or self._interrupted() or not self._following, REPEAT_S
            ):
                waited += REPEAT_S
                self._repeat(waited)
                if waited >= timeout:
                    self._fault(
                        f'lockstep: {what} within {timeout} s of wall time. See the diagnostics '
                        'of the other nodes; a stage that is slower than camera.rate by its own '
                        'parameters, or the cache method skip, cannot run in lockstep.'
                    )
        self._fault('')
