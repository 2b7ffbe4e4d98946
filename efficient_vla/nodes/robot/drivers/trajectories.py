# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The topics and the action of a joint_trajectory_controller."""

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from control_msgs.action import FollowJointTrajectory
from control_msgs.msg import JointTolerance as JointToleranceMessage, JointTrajectoryControllerState
from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from efficient_vla.nodes.base.actions import DeferredActionServer
from efficient_vla.nodes.base.conversions import (
    from_wire,
    seconds_to_stamp,
    stamp_to_seconds,
    to_wire,
)
from efficient_vla.nodes.base.qos import newest_qos, report_qos
from efficient_vla.sim.drivers.joint_trajectory_controller import (
    INVALID_GOAL,
    SUCCESSFUL,
    Constraints,
    GoalEnd,
    JointTolerance,
    JointTrajectoryController,
)
from efficient_vla.sim.drivers.spline import JointPath, JointPoint, Sample

ERASED = -1.0
"""A tolerance of a goal that lifts that of the controller."""


class TrajectoryDriver:
    """``controller`` under the topics of its ``name``; ``update`` may come from any thread."""

    def __init__(
        self,
        node: Any,
        name: str,
        controller: JointTrajectoryController,
        constraints: Constraints,
    ) -> None:
        self._node = node
        self._name = name
        self.controller = controller
        self._constraints = constraints
        self._lock = threading.Lock()
        self._goal: ServerGoalHandle | None = None
        self._now = 0.0
        self.newest = -math.inf
        """Start of the newest trajectory that was taken [s]."""
        self._state = node.create_publisher(
            JointTrajectoryControllerState, f'{name}/controller_state', report_qos()
        )
        self._commands = node.create_subscription(
            JointTrajectory, f'{name}/joint_trajectory', self._take, newest_qos()
        )
        self._server = DeferredActionServer(
            node,
            FollowJointTrajectory,
            f'{name}/follow_joint_trajectory',
            execute_callback=lambda _: FollowJointTrajectory.Result(),
            callback_group=ReentrantCallbackGroup(),
            goal_callback=self._judge,
            handle_accepted_callback=self._accepted,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def update(
        self, stamp: float, measured: np.ndarray, velocity: np.ndarray, scaling: float
    ) -> np.ndarray | None:
        """Return the command [J] of the next period, ``None`` while the controller is inactive."""
        with self._lock:
            self._now = stamp
            command = None
            if self.controller.active:
                command = self.controller.update(stamp, measured, velocity, scaling)
                message = self._report(stamp)
            over = self._goal is not None and (
                self._goal.is_cancel_requested or self.controller.result is not None
            )
        if command is not None:
            self._state.publish(message)
        if over:
            self._node.executor.create_task(self._settle)
        return command

    def activate(self, measured: np.ndarray, stamp: float) -> None:
        """Take the joints over where they are [J]."""
        with self._lock:
            self._now = stamp
            self.controller.activate(measured, stamp)

    def deactivate(self) -> None:
        """Let go of the joints."""
        with self._lock:
            self.controller.deactivate()

    def close(self) -> None:
        """Take topics and action back."""
        self._server.destroy()
        self._node.destroy_subscription(self._commands)
        self._node.destroy_publisher(self._state)

    def _take(self, message: JointTrajectory) -> None:
        trajectory = read_trajectory(message)
        with self._lock:
            refused = self.controller.refuse(trajectory, self._now)
            if refused is None:
                self.controller.follow(trajectory)
                self.newest = trajectory.start or self._now
        if refused:
            self._node.get_logger().error(
                f'{self._name} rejected a trajectory: {refused}', throttle_duration_sec=1.0
            )

    def _judge(self, request: FollowJointTrajectory.Goal) -> GoalResponse:
        with self._lock:
            refused = self.controller.refuse(read_trajectory(request.trajectory), self._now)
        if refused is None:
            return GoalResponse.ACCEPT
        self._node.get_logger().error(f'{self._name} rejected a goal: {refused}')
        return GoalResponse.REJECT

    def _accepted(self, goal: ServerGoalHandle) -> None:
        goal.execute()
        request = goal.request
        with self._lock:
            before, self._goal = self._goal, goal
            trajectory = read_trajectory(request.trajectory)
            self.controller.follow(trajectory, True, self._tolerances(request))
            self.newest = trajectory.start or self._now
        if before is not None:
            text = 'Current goal cancelled due to new incoming action.'
            self._finish(before, GoalEnd(INVALID_GOAL, text))

    def _tolerances(self, request: FollowJointTrajectory.Goal) -> Constraints:
        """Return the controller's own tolerances with those of a goal."""
        own = self._constraints
        path = _positions(request.path_tolerance)
        goal = _positions(request.goal_tolerance)
        joints = {}
        for name in self.controller.joints:
            default = own.joints.get(name, JointTolerance())
            joints[name] = JointTolerance(
                _chosen(path.get(name, 0.0), default.trajectory),
                _chosen(goal.get(name, 0.0), default.goal),
            )
        late = stamp_to_seconds(request.goal_time_tolerance)
        return Constraints(
            joints, own.stopped_velocity_tolerance, _chosen(float(late), own.goal_time)
        )

    def _settle(self) -> None:
        """End the goal that is over, on the thread of the executor."""
        with self._lock:
            goal, result = self._goal, self.controller.result
            if goal is None:
                return
            if goal.is_cancel_requested and result is None:
                self.controller.cancel()
                result = GoalEnd(SUCCESSFUL, '')
            if result is None:
                return
            self._goal = None
        self._finish(goal, result)

    def _finish(self, goal: ServerGoalHandle, result: GoalEnd) -> None:
        if goal.is_cancel_requested:
            goal.canceled()
        elif result.code == SUCCESSFUL:
            goal.succeed()
        else:
            goal.abort()
        self._server.finish(
            goal, FollowJointTrajectory.Result(error_code=result.code, error_string=result.text)
        )

    def _report(self, stamp: float) -> JointTrajectoryControllerState:
        report = self.controller.report()
        message = JointTrajectoryControllerState(
            joint_names=list(self.controller.joints),
            reference=_point(report.reference),
            speed_scaling_factor=report.speed_scaling,
        )
        message.header.stamp = seconds_to_stamp(stamp)
        message.feedback.positions = to_wire(report.feedback, 'd')
        message.feedback.velocities = to_wire(report.velocity, 'd')
        message.error.positions = to_wire(report.error, 'd')
        message.output.positions = to_wire(report.output, 'd')
        return message


def read_trajectory(message: JointTrajectory) -> JointPath:
    """Return the trajectory of a message; its values are not checked."""
    points = tuple(
        JointPoint(
            float(stamp_to_seconds(point.time_from_start)),
            from_wire(point.positions, 'd'),
            from_wire(point.velocities, 'd') if point.velocities else None,
            from_wire(point.accelerations, 'd') if point.accelerations else None,
        )
        for point in message.points
    )
    start = float(stamp_to_seconds(message.header.stamp))
    return JointPath(tuple(message.joint_names), points, start)


def _point(sample: Sample) -> JointTrajectoryPoint:
    return JointTrajectoryPoint(
        positions=to_wire(sample.position, 'd'),
        velocities=to_wire(sample.velocity, 'd'),
        accelerations=to_wire(sample.acceleration, 'd'),
    )


def _positions(tolerances: Sequence[JointToleranceMessage]) -> dict[str, float]:
    return {tolerance.name: tolerance.position for tolerance in tolerances}


def _chosen(asked: float, default: float) -> float:
    """Return a tolerance: 0 asks for the default, and -1 for none."""
    if asked == ERASED:
        return 0.0
    return asked if asked > 0 else default
