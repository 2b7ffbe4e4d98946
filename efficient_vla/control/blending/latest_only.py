# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Switch to the newest chunk at once; the seam is left to the limits."""

import numpy as np

from efficient_vla.control.moment import Moment
from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory


class LatestOnly:
    """The newest trajectory alone."""

    def __init__(self, settings: BlendingSettings) -> None:
        del settings

    def add(self, trajectory: Trajectory, moment: Moment, motion: np.ndarray) -> None:
        """Follow ``trajectory`` from now on."""
        del moment, motion
        self._trajectory = trajectory

    def at(self, moment: Moment) -> np.ndarray:
        """Return the reference's motion at ``moment`` [3, M]."""
        return moment.motion(self._trajectory)
