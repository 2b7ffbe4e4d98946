# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What ros2_control's gripper controllers do with a goal, without ROS.

A goal is reached where the joint is within ``goal_tolerance`` of it. A joint that has not moved for
``stall_timeout`` on its way has stalled: the goal is aborted, or has succeeded where stalling is
allowed, and the command stays, so that what it holds stays held.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GripperEnd:
    """How a goal ended."""

    position: float
    stalled: bool
    reached: bool
    succeeded: bool


class GripperController:
    """One joint, one goal at a time; it starts where the joint is."""

    def __init__(
        self,
        position: float,
        goal_tolerance: float = 0.01,
        stall_velocity: float = 0.001,
        stall_timeout: float = 1.0,
        allow_stalling: bool = False,
    ) -> None:
        self.command = position
        self._tolerance = goal_tolerance
        self._stall_velocity, self._stall_timeout = stall_velocity, stall_timeout
        self._allow_stalling = allow_stalling
        self._pursued = False
        self._moved = 0.0
        self.end: GripperEnd | None = None
        """How the newest goal ended, ``None`` while it is pursued."""

    def follow(self, position: float, now: float) -> None:
        """Go to ``position``; a goal under way is replaced."""
        self.command, self.end = position, None
        self._pursued, self._moved = True, now

    def update(self, now: float, measured: float, velocity: float) -> float:
        """Return the command of the joint, from where it is and how fast it is."""
        if self._pursued:
            reached = abs(self.command - measured) < self._tolerance
            if abs(velocity) > self._stall_velocity:
                self._moved = now
            stalled = not reached and now - self._moved > self._stall_timeout
            if reached or stalled:
                self._pursued = False
                succeeded = reached or self._allow_stalling
                self.end = GripperEnd(measured, stalled, reached, succeeded)
        return self.command
