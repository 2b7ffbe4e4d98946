# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as trajectories that always end at rest, for joint_trajectory_controller.

Every message replaces the one before. It leads to the newest set-point, ``driver.lead`` periods
after the time of that set-point, through those before it, and from there along the fastest stop
inside all limits. While set-points come, late by less than that, the robot is on the controller's
own motion and never reaches the stop; one that is later goes on from where the robot brakes by
then. When they end, it stands still as fast as its limits allow, whatever happened to this process.
A trajectory that ends in motion would be refused (``allow_nonzero_velocity_at_trajectory_end``).

Stamps make the motion independent of when a message arrives, so the robot's computer has to share
the clock. Points carry accelerations: the controller joins them with quintic splines. Set
``interpolate_from_desired_state: true`` there, since measured states lag.
"""

from collections import deque
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.nodes.base.conversions import seconds_to_duration, to_wire
from efficient_vla.nodes.controller.outputs.output import ArmOutput
from efficient_vla.types import Command

SHORTEST_S = 1e-5
"""Points closer than this are one: the controller demands times that rise."""
STOP_POINTS = 4
"""A stop has at most three phases of constant jerk, of any length."""


class JointTrajectoryOutput(ArmOutput):
    """The newest set-point and the stop behind it."""

    message = JointTrajectory

    def __init__(self, node: LifecycleNode, settings: ControllerNodeSettings, *more: Any) -> None:
        self.topic = f'{settings.driver.controller}/joint_trajectory'
        self._ahead: deque[tuple[float, np.ndarray]] = deque()
        super().__init__(node, settings, *more)
        self.covers = settings.driver.lead / settings.rate

    def restart(self) -> None:
        """Forget the set-points that are under way."""
        super().restart()
        self._ahead.clear()

    def send_axes(self, command: Command, axes: list[int]) -> None:
        """Send a set-point, which is that from which ``brake_path`` starts."""
        self.go_on_repeating(command, axes)
        stops, states = _apart(*self._brake_path(STOP_POINTS))
        states = states[:, :, self._arm]
        now = command.stamp
        arrival = now + self.covers
        ahead = self._ahead
        while ahead and ahead[0][0] <= now + SHORTEST_S:
            ahead.popleft()
        # Also where the clock jumped back, or two set-points are of one time.
        while ahead and ahead[-1][0] >= arrival - SHORTEST_S:
            ahead.pop()
        points = [*ahead, *zip((arrival + stops).tolist(), states, strict=True)]
        ahead.append((arrival, states[0]))
        message = JointTrajectory()
        message.header.stamp = self._stamp(now)
        message.joint_names = self._joints
        message.points = [
            JointTrajectoryPoint(
                positions=to_wire(position, 'd'),
                velocities=to_wire(velocity, 'd'),
                accelerations=to_wire(acceleration, 'd'),
                time_from_start=seconds_to_duration(time - now),
            )
            for time, (position, velocity, acceleration) in points
        ]
        self.publish(message, now)

    def publish(self, message: JointTrajectory, stamp: float) -> None:
        """Send the trajectory of the time ``stamp`` [s]."""
        self._publisher.publish(message)


def _apart(times: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a stop that are apart; the last one, at rest, is always one."""
    if len(times) < 2 or times[1] >= SHORTEST_S:
        return times, states
    if times[-1] < SHORTEST_S:
        return times[:1], states[-1:]
    return times[[0, -1]], states[[0, -1]]
