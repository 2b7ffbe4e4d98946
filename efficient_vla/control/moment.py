# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A time, and where the clock of motion is then."""

import math
from dataclasses import dataclass

import numpy as np

from efficient_vla.control.trajectory import Trajectory


@dataclass(frozen=True, slots=True)
class Moment:
    """When something of a motion is asked for; at speed 1 time and clock run alike."""

    time: float
    """[s]."""
    clock: float
    """By the clock of motion, see ``History`` [s]."""
    speed: float = 1.0
    """Seconds of the clock in a second."""
    slope: float = 0.0
    """Change of the speed [1/s]."""
    oldest: float = -math.inf
    """Chunks that were observed earlier may not move the robot any more [s]."""

    def left(self, trajectory: Trajectory) -> float:
        """Return how long ``trajectory`` may still move the robot, by the clock of motion [s]."""
        young = self.speed * (trajectory.chunk.stamp - self.oldest)
        return min(trajectory.end - self.clock, young)

    def over(self, trajectory: Trajectory) -> bool:
        """Return whether ``trajectory`` has ended or is too old."""
        return trajectory.ended(self.clock) or self.too_old(trajectory)

    def too_old(self, trajectory: Trajectory) -> bool:
        """Return whether the observation behind ``trajectory`` is too old."""
        return trajectory.chunk.stamp < self.oldest

    def by_time(self, motion: np.ndarray) -> np.ndarray:
        """Return position, velocity and acceleration by the clock [3, M] as those by time."""
        speed = self.speed
        by_time: np.ndarray = motion * np.array([[1.0], [speed], [speed * speed]])
        by_time[2] += self.slope * motion[1]
        return by_time

    def motion(self, trajectory: Trajectory) -> np.ndarray:
        """Return the motion of ``trajectory`` now, by time [3, M]."""
        return self.by_time(trajectory.at(self.clock))
