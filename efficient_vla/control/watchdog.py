# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Until when a chunk may drive the robot."""

import math

from efficient_vla.types import ActionChunk

TOLERANCE = 1e-5
"""A tick at the very end of a chunk still executes it [s]."""
NEVER = (-math.inf, '')


class Watchdog:
    """When the newest chunk must stop moving the robot, and why.

    Its rows end by the clock of motion; its observation and its plan age by time.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Let no chunk move the robot."""
        self._end = self._deadline = NEVER

    def watch(self, chunk: ActionChunk, end: tuple[float, str], chunk_timeout: float) -> None:
        """Let ``chunk`` move the robot; ``end`` is the clock at which its rows run out, and why."""
        self._end = end
        valid = chunk.plan_valid_for
        self._deadline = min(
            (
                chunk.stamp + chunk_timeout,
                f'no observation newer than watchdog.chunk_timeout {chunk_timeout} s',
            ),
            (
                chunk.plan_stamp + valid,
                f'plan {chunk.plan_sequence} is older than its validity of {valid} s',
            ),
        )

    def left(self, clock: float) -> float:
        """Return how long the rows last from ``clock`` on, by the clock of motion [s]."""
        return self._end[0] - clock

    @property
    def ran_out(self) -> str:
        """Why the chunk must not move the robot once its rows have ended."""
        return self._end[1]

    @property
    def deadline(self) -> float:
        """Time after which the chunk is too old, whatever is left of it [s]."""
        return self._deadline[0]

    def remaining(self, now: float, clock: float, speed: float) -> float:
        """Return how long the chunk may still move the robot while its clock runs at ``speed``."""
        return max(min(self.left(clock) / speed, self._deadline[0] - now), 0.0)

    def expired(self, now: float, clock: float, speed: float) -> str:
        """Return why the chunk must not move the robot any more, or an empty string."""
        over, late = -self.left(clock) / speed, now - self._deadline[0]
        if max(over, late) <= TOLERANCE:
            return ''
        return self._end[1] if over > late - TOLERANCE else self._deadline[1]
