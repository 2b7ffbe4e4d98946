# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure the offset at the seam and fade it to zero.

A chunk is predicted from an observation that is one inference old, so that it disagrees with the
set-point by the prediction error of that time. The offset at the moment of arrival, in position,
velocity and acceleration, is added to the new trajectory and fades along the polynomial of degree
five that takes it to zero: the reference goes on from the very motion of the set-point, and its
first two derivatives are continuous. The first chunk of a robot at rest has no motion to go on
from: only the position fades, and the limits shape the run-up. A faded velocity would be caught up
with at half more than the speed of the chunk. A chunk that starts with a leap is no reason to go
far the other way either: of the velocity so much fades as leads ``DETOUR`` astray.
"""

from functools import lru_cache

import numpy as np

from efficient_vla.control.moment import Moment
from efficient_vla.control.quintic import derivatives
from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory

DETOUR = 0.02
"""Furthest way that the fade of a velocity adds to an axis [m or rad]."""
LONGEST = 16 / 81
"""Largest value of s - 6 s^3 + 8 s^4 - 3 s^5, which fades a velocity of 1 in a time of 1."""


class OffsetFade:
    """The newest trajectory plus what remains of the offset at its seam."""

    def __init__(self, settings: BlendingSettings) -> None:
        self._fade_time = settings.fade_time
        self._moving = False

    def add(self, trajectory: Trajectory, moment: Moment, motion: np.ndarray) -> None:
        """Fade from the set-point's ``motion`` [3, M] at ``moment`` into ``trajectory``."""
        offset = trajectory.attitude.apart(motion, moment.motion(trajectory))
        if not self._moving:
            offset[1:] = 0.0
        elif self._fade_time > 0:
            fastest = DETOUR / (LONGEST * self._fade_time)
            offset[1] = np.clip(offset[1], -fastest, fastest)
        self._moving = True
        self._trajectory = trajectory
        self._seam = moment.time
        self._fade = fade_polynomial(offset, self._fade_time)

    def at(self, moment: Moment) -> np.ndarray:
        """Return the reference's motion at ``moment`` [3, M]."""
        motion = moment.motion(self._trajectory)
        since = max(moment.time - self._seam, 0.0)
        if since < self._fade_time:
            motion = self._trajectory.attitude.joined(motion, derivatives(since) @ self._fade)
        return motion


def fade_polynomial(offset: np.ndarray, time: float) -> np.ndarray:
    """Return the coefficients [6, M] of the fade of ``offset`` [3, M] to zero in ``time`` [s].

    The offset is one in position, velocity and acceleration; all three end at zero.
    """
    if time <= 0:
        return np.zeros((6, offset.shape[1]))
    scaled = offset * np.array([[1.0], [time], [time**2]])
    coefficients: np.ndarray = _powers(time) * (TO_ZERO @ scaled)
    return coefficients


@lru_cache(maxsize=8)
def _powers(time: float) -> np.ndarray:
    powers: np.ndarray = time ** -np.arange(6.0)[:, None]
    return powers


TO_ZERO = np.array(
    [
        [1.0, 0.0, 0.0],
        [0.0, 1.0, 0.0],
        [0.0, 0.0, 0.5],
        [-10.0, -6.0, -1.5],
        [15.0, 8.0, 1.5],
        [-6.0, -3.0, -0.5],
    ]
)
"""From position, velocity and acceleration at 0 to the polynomial that has none of them at 1."""
