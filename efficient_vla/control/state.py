# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the controller does and what it says about itself."""

from dataclasses import dataclass
from enum import IntEnum

from efficient_vla.types import Execution

HELD = 'held: something runs short'
"""Reason of a pause that the degradation ladder made, and nobody else since."""


class State(IntEnum):
    """What the controller does; the values are those of ``ControllerStatus.msg``.

    WAITING: enabled, no chunk yet, holding. HOLDING: chunks ran out or the watchdog fired.
    STOPPED: stopped until ``reset_stop``. PAUSED: braked and holding until resumed.
    """

    UNKNOWN = 0
    DISABLED = 1
    WAITING = 2
    TRACKING = 3
    DECELERATING = 4
    HOLDING = 5
    STOPPED = 6
    PAUSED = 7


@dataclass(frozen=True, slots=True)
class ControllerReport:
    """The controller at one time; ages of what was never there are infinite."""

    state: State
    reason: str
    """Why it is in this state."""
    finding: str
    """What the model of the arm has against the newest chunk, rule first; empty: nothing."""
    state_age: float
    """Time in this state [s]."""
    chunk_sequence: int
    """Sequence of the newest chunk, 0 without one."""
    chunk_age: float
    """Age of the observation behind the newest chunk [s]."""
    plan_age: float
    """Age of the frame behind the newest chunk's plan [s]."""
    remaining: float
    """Time for which the newest chunk may still drive the robot [s]."""
    execution: Execution | None
    """How the newest chunk is executed, ``None`` without one."""
    underruns: int
    """Times that chunks ran out or became too old while they drove the robot."""
    rejected: int
    """Chunks that were rejected while enabled."""
    max_jerk: float
    """Largest jerk of the set-points since enabled, over all axes [m/s^3]."""
    max_seam: float
    """Largest distance between set-point and arriving chunk since enabled [m]."""
