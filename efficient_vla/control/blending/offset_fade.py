# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure the offset at the seam and fade it to zero.

A chunk is predicted from an observation that is one inference old, so that it disagrees with the
set-point by the prediction error of that time. The offset at the moment of arrival is added to the
new trajectory and fades along the minimum-jerk polynomial, whose first two derivatives vanish at
both ends: the seam itself adds no step to position, velocity or acceleration.
"""

import numpy as np

from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory


def fade(progress: float) -> tuple[float, float]:
    """Return the weight, from 1 to 0 while ``progress`` goes from 0 to 1, and its derivative."""
    if progress >= 1:
        return 0.0, 0.0
    weight = 1 - progress**3 * (10 - 15 * progress + 6 * progress**2)
    return weight, -30 * progress**2 * (1 - progress) ** 2


class OffsetFade:
    """The newest trajectory plus what remains of the offset at its seam."""

    def __init__(self, settings: BlendingSettings) -> None:
        self._fade_time = settings.fade_time

    def add(self, trajectory: Trajectory, time: float, position: np.ndarray) -> None:
        """Fade from the set-point ``position`` [M] at ``time`` into ``trajectory``."""
        self._trajectory = trajectory
        self._seam = time
        self._offset = position - trajectory.at(time)[0]

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the reference at ``time``: position [M] and velocity [M]."""
        position, velocity = self._trajectory.at(time)
        since = max(time - self._seam, 0.0)
        if since >= self._fade_time:
            return position, velocity
        weight, slope = fade(since / self._fade_time)
        return position + weight * self._offset, velocity + slope / self._fade_time * self._offset
