# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Trajectories of joints, joined as ros2_control's joint_trajectory_controller joins their points.

What both ends of a segment say decides: positions alone are joined by straight lines, velocities
beside them by cubics, accelerations too by quintics (ros2_controllers, trajectory representation).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class JointPoint:
    """Where the joints are to be ``time`` [s] after the trajectory starts; [J] each."""

    time: float
    positions: np.ndarray
    velocities: np.ndarray | None = None
    accelerations: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class JointPath:
    """Points for named joints, from ``start`` [s] on; 0: from when it is first followed."""

    joints: tuple[str, ...]
    points: tuple[JointPoint, ...]
    start: float = 0.0


class Sample(NamedTuple):
    """Position, velocity and acceleration [J] each, and whether points are still to come."""

    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    before_last: bool


def sample(trajectory: JointPath, start: float, before: JointPoint, time: float) -> Sample:
    """Return the motion at ``time`` [s] of a trajectory that starts at ``start``.

    ``before`` is the state from which its first point is reached, at a time of the same clock.
    Segments that are over are passed by.
    """
    points = trajectory.points
    if time < start + points[0].time:
        begin = _filled(before, points[0])
        return _between(begin, before.time, points[0], start + points[0].time, time)
    for first, second in pairwise(points):
        if time < start + second.time:
            return _between(first, start + first.time, second, start + second.time, time)
    last = points[-1]
    zero = np.zeros_like(last.positions)
    velocity = zero if last.velocities is None else last.velocities
    acceleration = zero if last.accelerations is None else last.accelerations
    return Sample(last.positions, velocity, acceleration, before_last=False)


def _filled(state: JointPoint, follower: JointPoint) -> JointPoint:
    """Return ``state`` with zeros for what only its ``follower`` says."""
    zero = np.zeros_like(state.positions)
    velocities, accelerations = state.velocities, state.accelerations
    if velocities is None and follower.velocities is not None:
        velocities = zero
    if accelerations is None and follower.accelerations is not None:
        accelerations = zero
    return JointPoint(state.time, state.positions, velocities, accelerations)


def _between(
    first: JointPoint, begin: float, second: JointPoint, end: float, time: float
) -> Sample:
    length, passed = end - begin, time - begin
    p0, p1 = first.positions, second.positions
    zero = np.zeros_like(p0)
    if first.velocities is None or second.velocities is None:
        rate = (p1 - p0) / length
        return Sample(p0 + rate * passed, rate, zero, before_last=True)
    v0, v1 = first.velocities, second.velocities
    way = p1 - p0
    if first.accelerations is None or second.accelerations is None:
        c2 = (3 * way / length - 2 * v0 - v1) / length
        c3 = (v0 + v1 - 2 * way / length) / length**2
        return _polynomial([p0, v0, c2, c3], passed)
    a0, a1 = first.accelerations, second.accelerations
    rest = way - v0 * length - a0 * length**2 / 2
    turn = (v1 - v0 - a0 * length) * length
    bend = (a1 - a0) * length**2
    c3 = (10 * rest - 4 * turn + bend / 2) / length**3
    c4 = (-15 * rest + 7 * turn - bend) / length**4
    c5 = (6 * rest - 3 * turn + bend / 2) / length**5
    return _polynomial([p0, v0, a0 / 2, c3, c4, c5], passed)


def _polynomial(coefficients: list[np.ndarray], time: float) -> Sample:
    position = velocity = acceleration = np.zeros_like(coefficients[0])
    for coefficient in reversed(coefficients):
        acceleration = acceleration * time + 2 * velocity
        velocity = velocity * time + position
        position = position * time + coefficient
    return Sample(position, velocity, acceleration, before_last=True)
