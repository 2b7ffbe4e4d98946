# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Actions whose goals end when their node says so."""

from typing import Any

from rclpy.action import ActionServer
from rclpy.action.server import ServerGoalHandle


class DeferredActionServer(ActionServer):
    """An action server whose goals end when ``finish`` is called.

    A coroutine that awaits the end would be simpler, but the executors of rclpy poll a waiting
    coroutine without pause, which takes a whole core from the control loop.
    """

    def notify_execute(self, goal_handle: ServerGoalHandle, execute_callback: Any) -> None:
        """Leave the goal executing."""

    def finish(self, goal_handle: ServerGoalHandle, result: Any) -> None:
        """Send ``result``; the goal is in a terminal state already."""
        super().notify_execute(goal_handle, lambda _: result)
