# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the set-point goes when motion ends, so that the robot stands and not the set-point alone.

A robot that follows slowly, or is blocked, is far behind its set-point. Were the set-point braked
where it is, the robot would go on until it gets there. So it goes back, inside all limits, to
where the robot itself can stop.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from efficient_vla.control.limits import Limiter

STALE_S = 0.25
"""A position measured longer ago says nothing about where the robot can stop."""
FOLLOWS_S = 0.03
"""A robot that is where its set-point was so long before follows it, and brakes with it."""


@dataclass(frozen=True, slots=True, eq=False)
class RobotMotion:
    """How the robot was measured to move; what it sags is taken off."""

    position: np.ndarray
    """[M]."""
    velocity: np.ndarray
    """[M]."""
    time: float
    """When it was so [s]."""


class Stopping:
    """The end of a motion, by the set-point's brake or back to where the robot can stop."""

    def __init__(self, position: np.ndarray) -> None:
        self.robot: RobotMotion | None = None
        """Newest measured motion, ``None`` where none can be trusted."""
        self.restart(position)

    def restart(self, position: np.ndarray) -> None:
        """Begin anew at the set-point ``position`` [M]."""
        self._low = self._high = self._ends = position
        self._delay = self._tolerance = 0.0
        self._seen: RobotMotion | None = None
        self._apart = np.zeros(len(position), bool)
        self.target: np.ndarray | None = None

    def passed(self, position: np.ndarray) -> None:
        """Take note of a set-point [M]."""
        self._low = np.minimum(self._low, position)
        self._high = np.maximum(self._high, position)

    def choose(
        self,
        limiter: Limiter,
        now: float,
        delay: float,
        tolerance: float,
        setpoints: Callable[[float, float], np.ndarray],
    ) -> None:
        """Choose where the motion of ``limiter`` ends.

        An axis stays on its brake where the robot follows, ``delay`` [s] late, what ``setpoints``
        returns from one time to another [K, M], or where the brake ends within ``tolerance`` of
        where the robot can stop. It never goes back further than it has been.
        """
        self.target = None
        robot = self.robot
        if robot is None or not 0 <= now - robot.time <= STALE_S:
            return
        self._seen, self._delay, self._tolerance = robot, delay, tolerance
        self._ends = ends = limiter.rest(*limiter.motion)
        stops = self._stops(limiter, robot, now - robot.time)
        stops = np.clip(stops, np.minimum(self._low, ends), np.maximum(self._high, ends))
        # An axis that stands, robot and set-point, is left: what it is off is what it sags.
        moving = (np.abs(robot.velocity) > tolerance) | (limiter.velocity != 0)
        # Its velocity is an average: in a run-up alone it says that the robot stops much earlier.
        lately = setpoints(robot.time - delay - FOLLOWS_S, robot.time - delay)
        low, high = lately.min(axis=0) - tolerance, lately.max(axis=0) + tolerance
        follows = (low <= robot.position) & (robot.position <= high)
        back = moving & ~follows & (np.abs(ends - stops) > tolerance)
        if back.any():
            self.target = np.where(back, stops, ends)
            self._apart = back

    def advance(self, limiter: Limiter, period: float) -> None:
        """Move on towards the end for ``period`` [s]."""
        if self.target is None:
            limiter.brake(period)
            return
        if self.robot is not None and self.robot is not self._seen:
            # The robot goes on while the set-point comes back. Once they have met, it follows, and
            # must not be followed: they would lead each other on.
            self._seen = self.robot
            self._apart &= np.abs(limiter.position - self.target) > self._tolerance
            bounds = np.sort([self.target, self._ends], axis=0)
            stops = np.clip(self._stops(limiter, self.robot, 0.0), *bounds)
            self.target = np.where(self._apart, stops, self.target)
        still = np.zeros_like(self.target)
        limiter.follow(np.array([self.target, still, still]), period)
        if limiter.at_rest:
            self.target = None

    def _stops(self, limiter: Limiter, robot: RobotMotion, age: float) -> np.ndarray:
        """Return where ``robot``, measured ``age`` [s] ago, can stop [M]."""
        reached = robot.position + robot.velocity * (age + self._delay)
        return limiter.rest(reached, robot.velocity, np.zeros_like(reached))
