# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Go over from the motion under way to the newest chunk with a weight that rises linearly.

The weight of the newest chunk is 0 at its arrival and 1 after ``average_time``, or where that is 0
when the chunk before it ends or is too old, which is all the time they overlap. A chunk that
arrives during that time averages with the average under way, so that no seam makes the reference
jump. Velocity and acceleration are those of the averaged path: to the average of the velocities
comes what the change of the weight adds. The gripper is no part of it: the mean of open and closed
is neither.
"""

from typing import NamedTuple

import numpy as np

from efficient_vla.control.moment import Moment
from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory

MAX_MEMBERS, MAX_TURNING = 32, 12
"""The oldest go where more chunks than so many, or of those that turn a tool, are averaged: the
loop has to be in time."""
RISES = np.array([[1.0], [2.0]])
"""How often what a weight adds by rising counts in velocity and acceleration."""


class Member(NamedTuple):
    """A trajectory and when it takes over from those before it, by the clock of motion."""

    trajectory: Trajectory
    seam: float
    span: float

    def weight(self, time: float) -> float:
        """Return the weight at ``time``, from 0 to 1."""
        if time >= self.seam + self.span:
            return 1.0
        return max((time - self.seam) / self.span, 0.0)


class WeightedAverage:
    """The newest trajectory and the motion before it, by weights that change linearly."""

    def __init__(self, settings: BlendingSettings) -> None:
        self._span = settings.average_time
        self._members: list[Member] = []

    def add(self, trajectory: Trajectory, moment: Moment, motion: np.ndarray) -> None:
        """Let ``trajectory`` take over from ``moment`` on."""
        del motion
        time = moment.clock
        self._drop_replaced(moment)
        overlap = max((moment.left(member.trajectory) for member in self._members), default=0.0)
        span = min(moment.speed * self._span, overlap) if self._span > 0 else overlap
        member = Member(trajectory, time, max(span, 0.0))
        most = MAX_MEMBERS if trajectory.attitude.axes is None else MAX_TURNING
        self._members = [*self._members[1 - most :], member]

    def at(self, moment: Moment) -> np.ndarray:
        """Return the reference's motion at ``moment`` [3, M]."""
        time = moment.clock
        self._drop_replaced(moment)
        first, *others = self._members
        motion = first.trajectory.at(time)
        for member in others:
            weight = member.weight(time)
            attitude = member.trajectory.attitude
            difference = attitude.apart(member.trajectory.at(time), motion)
            rising = np.zeros_like(difference)
            rising[1:] = difference[:-1] / member.span * RISES
            motion = attitude.joined(motion, weight * difference, rising)
        return moment.by_time(motion)

    def _drop_replaced(self, moment: Moment) -> None:
        """Forget what a trajectory of full weight has replaced, and what is too old."""
        for index in range(len(self._members) - 1, 0, -1):
            old = moment.too_old(self._members[index - 1].trajectory)
            if old or self._members[index].weight(moment.clock) == 1:
                self._members = self._members[index:]
                return
