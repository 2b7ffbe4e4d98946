# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The action of a gripper controller of ros2_control."""

import threading
from typing import Any

from control_msgs.action import GripperCommand, ParallelGripperCommand
from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from sensor_msgs.msg import JointState

from efficient_vla.nodes.base.actions import DeferredActionServer
from efficient_vla.sim.drivers.gripper import GripperController, GripperEnd


class GripperDriver:
    """The action ``name`` of the gripper's ``joint``; ``update`` may come from any thread.

    ``parallel`` offers ``ParallelGripperCommand`` instead of ``GripperCommand``. A goal outside of
    ``low`` to ``high`` is rejected.
    """

    def __init__(
        self, node: Any, name: str, joint: str, limits: tuple[float, float], parallel: bool
    ) -> None:
        self._node = node
        self._joint = joint
        self._limits = limits
        self._parallel = parallel
        self._kind: Any = ParallelGripperCommand if parallel else GripperCommand
        self._lock = threading.Lock()
        self.controller: GripperController | None = None
        self._goal: ServerGoalHandle | None = None
        self._time = 0.0
        self.commanded = False
        """Whether a goal came since the last ``activate``."""
        self._server = DeferredActionServer(
            node,
            self._kind,
            name,
            execute_callback=lambda _: self._kind.Result(),
            callback_group=ReentrantCallbackGroup(),
            goal_callback=self._judge,
            handle_accepted_callback=self._accepted,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def activate(self, measured: float, stamp: float) -> None:
        """Hold the gripper where it is."""
        with self._lock:
            self.controller, self._time = GripperController(measured), stamp
            self.commanded = False

    def update(self, stamp: float, measured: float, velocity: float) -> float:
        """Return the set-point of the joint."""
        with self._lock:
            assert self.controller is not None
            self._time = stamp
            command = self.controller.update(stamp, measured, velocity)
            over = self._goal is not None and (
                self._goal.is_cancel_requested or self.controller.end is not None
            )
        if over:
            self._node.executor.create_task(self._settle)
        return command

    def close(self) -> None:
        """Take the action back."""
        self._server.destroy()

    def _asked(self, request: Any) -> float:
        if not self._parallel:
            return float(request.command.position)
        return float(request.command.position[0]) if request.command.position else float('nan')

    def _judge(self, request: Any) -> GoalResponse:
        low, high = self._limits
        good = self.controller is not None and low <= self._asked(request) <= high
        return GoalResponse.ACCEPT if good else GoalResponse.REJECT

    def _accepted(self, goal: ServerGoalHandle) -> None:
        goal.execute()
        with self._lock:
            before, self._goal = self._goal, goal
            assert self.controller is not None
            self.controller.follow(self._asked(goal.request), self._time)
            self.commanded = True
            place = self.controller.command
        if before is not None:
            self._finish(before, GripperEnd(place, False, False, False))

    def _settle(self) -> None:
        """End the goal that is over, on the thread of the executor."""
        with self._lock:
            goal, controller = self._goal, self.controller
            if goal is None or controller is None:
                return
            end = controller.end
            if end is None and goal.is_cancel_requested:
                end = GripperEnd(controller.command, False, False, False)
            if end is None:
                return
            self._goal = None
        self._finish(goal, end)

    def _finish(self, goal: ServerGoalHandle, end: GripperEnd) -> None:
        if goal.is_cancel_requested:
            goal.canceled()
        elif end.succeeded:
            goal.succeed()
        else:
            goal.abort()
        result = self._kind.Result(stalled=end.stalled, reached_goal=end.reached)
        if self._parallel:
            result.state = JointState(name=[self._joint], position=[end.position])
        else:
            result.position = end.position
        self._server.finish(goal, result)
