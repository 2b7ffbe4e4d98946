# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Average what all live chunks say about this moment.

Weights are exp(-m * i) with i = 0 for the oldest chunk (ACT, arXiv 2304.13705, section IV-B). The
gripper is no part of it: the mean of open and closed is neither.
"""

import numpy as np

from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory


class TemporalEnsemble:
    """The weighted mean of all trajectories that have not ended."""

    def __init__(self, settings: BlendingSettings) -> None:
        self._decay = settings.ensemble_decay
        self._live: list[Trajectory] = []

    def add(self, trajectory: Trajectory, time: float, position: np.ndarray) -> None:
        """Let ``trajectory`` take part from now on."""
        del time, position
        self._live.append(trajectory)

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the reference at ``time``: position [M] and velocity [M]."""
        # A chunk at its end would vote for standing still. The newest may: nothing follows it.
        *older, newest = self._live
        live = self._live = [*(past for past in older if not past.ended(time)), newest]
        exponents = -self._decay * np.arange(len(live))
        weights = np.exp(exponents - exponents.max())
        weights /= weights.sum()
        points = np.array([trajectory.at(time) for trajectory in live])  # [N, 2, M]
        position, velocity = np.tensordot(weights, points, 1)
        return position, velocity
