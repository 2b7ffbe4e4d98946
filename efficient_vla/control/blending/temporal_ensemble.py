# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Average what all live chunks say about this moment.

Weights are exp(-m * i) with i = 0 for the oldest chunk (ACT, arXiv 2304.13705, section IV-B). The
gripper is no part of it: the mean of open and closed is neither.
"""

import numpy as np

from efficient_vla.control.attitude import Attitude
from efficient_vla.control.moment import Moment
from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory

MAX_LIVE, MAX_TURNING = 32, 12
"""Of more chunks than so many, or of those that turn a tool, the newest alone has a vote beside the
oldest: the control loop has to be in time."""


class TemporalEnsemble:
    """The weighted mean of all trajectories that have not ended and are not too old."""

    def __init__(self, settings: BlendingSettings) -> None:
        self._decay = settings.ensemble_decay
        self._live: list[Trajectory] = []

    def add(self, trajectory: Trajectory, moment: Moment, motion: np.ndarray) -> None:
        """Let ``trajectory`` take part from now on."""
        del moment, motion
        most = MAX_LIVE if trajectory.attitude.axes is None else MAX_TURNING
        self._live = [*self._live[: most - 1], trajectory]

    def at(self, moment: Moment) -> np.ndarray:
        """Return the reference's motion at ``moment`` [3, M]."""
        # A chunk at its end would vote for standing still. The newest may: nothing follows it.
        *older, newest = self._live
        live = self._live = [*(past for past in older if not moment.over(past)), newest]
        exponents = -self._decay * np.arange(len(live))
        weights = np.exp(exponents - exponents.max())
        weights /= weights.sum()
        motions = np.array([moment.motion(trajectory) for trajectory in live])  # [N, 3, M]
        if newest.attitude.axes is not None:
            return _mean(weights, motions, newest.attitude)
        motion: np.ndarray = np.tensordot(weights, motions, 1)
        return motion


def _mean(weights: np.ndarray, motions: np.ndarray, attitude: Attitude) -> np.ndarray:
    """Return the mean of ``motions`` [N, 3, M] of which some axes turn.

    What rotations differ from the newest by is averaged: that is a step towards their mean, which
    is exact about one axis.
    """
    newest = motions[-1]
    offset = np.zeros_like(newest)
    for weight, motion in zip(weights[:-1], motions[:-1], strict=True):
        offset += weight * attitude.apart(motion, newest)
    mean = attitude.joined(newest, offset)
    assert attitude.axes is not None
    others = np.delete(np.arange(mean.shape[1]), attitude.axes)
    mean[:, others] = np.tensordot(weights, motions[:, :, others], 1)
    return mean
