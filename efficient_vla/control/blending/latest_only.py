# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Switch to the newest chunk at once; the seam is left to the limits."""

import numpy as np

from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory


class LatestOnly:
    """The newest trajectory alone."""

    def __init__(self, settings: BlendingSettings) -> None:
        del settings

    def add(
        self, trajectory: Trajectory, time: float, motion: np.ndarray, speed: float = 1.0
    ) -> None:
        """Follow ``trajectory`` from now on."""
        del time, motion, speed
        self._trajectory = trajectory

    def at(self, time: float) -> np.ndarray:
        """Return the reference's motion at ``time`` [3, M]."""
        return self._trajectory.at(time)
