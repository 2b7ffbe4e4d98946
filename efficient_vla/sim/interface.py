# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes into the simulated robot and what comes out, without ROS."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

PERIOD_S = 0.0125
"""One step of the simulation, as ``MetaWorldSim.PERIOD``."""
COMMAND_NAMES = ('x', 'y', 'z', 'gripper')
STATE_NAMES = (*COMMAND_NAMES, 'setpoint_x', 'setpoint_y', 'setpoint_z')


class RobotOutputs(Protocol):
    """Where the robot sends what it measures; called in the robot's threads."""

    def clock(self, stamp: float) -> None:
        """Publish simulated time [s]."""

    def state(self, stamp: float, positions: np.ndarray) -> None:
        """Publish float64 [7] in the order of ``STATE_NAMES``."""

    def image(self, stamp: float, image: np.ndarray, render_ms: float) -> None:
        """Publish an rgb image, uint8 [rows, columns, 3]."""

    def success(self, value: bool) -> None:
        """Publish whether the episode's task is done."""

    def fault(self, reason: str) -> None:
        """Report what keeps the robot from running; empty when it runs again."""


@dataclass(frozen=True, slots=True)
class RobotReport:
    """What the robot achieved lately."""

    task: str
    seed: int
    steps: int
    success: bool
    real_time_factor: float
    rejected: int
    frames_dropped: int
