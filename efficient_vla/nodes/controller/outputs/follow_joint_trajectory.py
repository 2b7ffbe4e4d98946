# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as goals of ``FollowJointTrajectory``, for drivers that take nothing else.

A goal replaces the one before, ``driver.goal_rate`` times a second. It holds the set-points since,
each as much later as goals are apart, and the stop behind them: joint_trajectory_controller takes a
goal over on the way, so that the robot is on the controller's own motion, so much late, and never
stops between two goals. One goal a chunk would stop at its end, and could not be braked or bent. A
goal at every set-point would cost three services each.

The result of a goal that was replaced tells nothing. A goal that was rejected, or that a tolerance
ended, is a fault.
"""

import math
from typing import Any

import numpy as np
from control_msgs.action import FollowJointTrajectory
from rclpy.action import ActionClient
from rclpy.lifecycle import LifecycleNode
from trajectory_msgs.msg import JointTrajectory

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.nodes.controller.outputs.joint_trajectory import JointTrajectoryOutput

Outcome = FollowJointTrajectory.Result
TOLERANCES = {
    Outcome.PATH_TOLERANCE_VIOLATED: 'PATH_TOLERANCE_VIOLATED',
    Outcome.GOAL_TOLERANCE_VIOLATED: 'GOAL_TOLERANCE_VIOLATED',
}
"""Codes that are faults whichever goal they end: the robot holds where it is."""
CODES = {
    **TOLERANCES,
    Outcome.INVALID_GOAL: 'INVALID_GOAL',
    Outcome.INVALID_JOINTS: 'INVALID_JOINTS',
    Outcome.OLD_HEADER_TIMESTAMP: 'OLD_HEADER_TIMESTAMP',
}
STILL = 1e-9
"""A place that differs by less is the same."""


class FollowTrajectoryOutput(JointTrajectoryOutput):
    """The set-points since the last goal and the stop behind them."""

    def __init__(self, node: LifecycleNode, settings: ControllerNodeSettings, *more: Any) -> None:
        self._name = f'{settings.driver.controller}/follow_joint_trajectory'
        self._node = node
        self._number = 0
        self._client = ActionClient(node, FollowJointTrajectory, self._name)
        super().__init__(node, settings, *more)
        self.covers += 1 / settings.driver.goal_rate

    def absent(self) -> str:
        """Return that nobody offers the action, or ''."""
        if self._client.server_is_ready():
            return ''
        return (
            f'nobody offers the action {self._name}. Start the driver of the robot, or set '
            'driver.controller.'
        )

    def make_publisher(self, node: LifecycleNode) -> Any:
        """Return none: goals go out instead of messages."""
        return None

    def restart(self) -> None:
        """Forget the set-points that are under way."""
        super().restart()
        self._since = -math.inf
        self._ends: np.ndarray = np.zeros(0)

    def publish(self, message: JointTrajectory, stamp: float) -> None:
        """Send a goal where one is due and the robot has to go anywhere."""
        places = np.array([point.positions for point in message.points])
        stands = float(np.ptp(places, axis=0).max()) < STILL
        there = len(self._ends) > 0 and float(np.abs(places[-1] - self._ends).max()) < STILL
        self.moves = not (stands and there)
        period = 1 / self._settings.driver.goal_rate
        if not self.moves or 0 <= stamp - self._since < period - STILL:
            return
        if self.absent():
            return
        self._since, self._ends = stamp, places[-1]
        self._number += 1
        number = self._number
        answered = self._client.send_goal_async(FollowJointTrajectory.Goal(trajectory=message))
        answered.add_done_callback(lambda answer: self._answered(number, answer.result()))

    def _answered(self, number: int, handle: Any) -> None:
        if not handle.accepted:
            self._fail('rejected a goal')
            return
        handle.get_result_async().add_done_callback(
            lambda done: self._ended(number, done.result().result)
        )

    def _ended(self, number: int, result: Any) -> None:
        if result.error_code in TOLERANCES or (
            number == self._number and result.error_code != Outcome.SUCCESSFUL
        ):
            name = CODES.get(result.error_code, f'error {result.error_code}')
            self._fail(f'ended a goal with {name} ({result.error_string[:200]})')

    def _fail(self, what: str) -> None:
        self.fault = (
            f'{self._name} {what}. Its log tells more. Mend that, then call reset_stop and enable '
            'it.'
        )
