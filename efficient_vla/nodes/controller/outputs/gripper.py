# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the gripper's set-point goes: a topic that holds it, or an action of its controller.

An action gets a goal where the set-point changed, ``GOAL_S`` apart, the newest replacing the one
before. A gripper that stalls holds something, which is no fault.
"""

import math
from abc import abstractmethod
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.columns import axes_of
from efficient_vla.control.settings import axes
from efficient_vla.nodes.base.qos import newest_qos

GOAL_S = 0.1
"""Goals are at least so far apart [s]."""
ANSWER_S = 5.0
"""A gripper that neither reached its goal nor stalled for so long does not answer [s]."""
CHANGED = 0.01
"""A set-point that changed by less than this share of the way from open to closed is the same."""


class Gripper:
    """Takes set-points of the gripper, in its own unit."""

    fault = ''
    """Why the gripper does not do what it is told."""
    pending = False
    """Whether it was not told the newest set-point yet."""

    def __init__(self, node: LifecycleNode, settings: ControllerNodeSettings) -> None:
        self._node = node
        self._settings = settings

    def restart(self) -> None:
        """Forget what was sent."""

    def hold(self, value: float) -> None:
        """Take note that the gripper is at ``value`` and need not be told."""

    @abstractmethod
    def send(self, value: float, stamp: float) -> None:
        """Send a set-point of the time ``stamp`` [s]."""


class TopicGripper(Gripper):
    """A forward_command_controller of the gripper's joint, on ``gripper_command``.

    It is told again and again: a controller that is started anew has forgotten.
    """

    def __init__(self, node: LifecycleNode, settings: ControllerNodeSettings) -> None:
        super().__init__(node, settings)
        self.publisher = node.create_lifecycle_publisher(
            Float64MultiArray, 'gripper_command', newest_qos()
        )

    def send(self, value: float, stamp: float) -> None:
        """Send a set-point."""
        self.publisher.publish(Float64MultiArray(data=[value]))


class ActionGripper(Gripper):
    """A controller with an action of ``kind``; a goal that it rejects or gives up is a fault."""

    kind: Any

    def __init__(self, node: LifecycleNode, settings: ControllerNodeSettings) -> None:
        super().__init__(node, settings)
        self._client = ActionClient(node, self.kind, settings.gripper_action)
        low, high = _range(settings)
        self._step = CHANGED * abs(high - low)
        self._number = 0
        self.restart()

    def restart(self) -> None:
        """Send the next set-point, whatever it is."""
        self._sent, self._since, self._asked = math.nan, -math.inf, -math.inf
        self._told, self._over, self.pending = False, self._number, False

    def hold(self, value: float) -> None:
        """Send nothing until the set-point leaves ``value``: a gripper may hold something there."""
        self._sent = value

    def send(self, value: float, stamp: float) -> None:
        """Send a goal where the set-point is another one, or the gripper was started anew."""
        same = abs(value - self._sent) <= self._step
        if 0 <= stamp - self._since < GOAL_S:
            self.pending = not same
            return
        self._since, self.pending = stamp, False
        if not self._client.server_is_ready():
            if self._told or not same:
                self._node.health.error(
                    'gripper',
                    f'nobody offers the action {self._settings.gripper_action}. Start the driver '
                    'of the gripper, or set gripper_action.',
                )
            if self._told:
                self._sent = math.nan  # Who comes has forgotten it.
            return
        if same:
            if self._over < self._number and not 0 <= stamp - self._asked <= ANSWER_S:
                self._node.health.warn(
                    'gripper',
                    f'{self._settings.gripper_action} has said nothing of the goal {value:.4g} for '
                    f'{ANSWER_S:g} s: neither reached nor stalled. Is its driver well?',
                )
            return
        self._sent, self._asked, self._told = value, stamp, True
        self._number += 1
        number = self._number
        answered = self._client.send_goal_async(self.goal(value))
        answered.add_done_callback(lambda answer: self._answered(number, value, answer.result()))

    @abstractmethod
    def goal(self, value: float) -> Any:
        """Return the goal of a set-point."""

    def _answered(self, number: int, value: float, handle: Any) -> None:
        if not handle.accepted:
            self._fail(f'rejected the goal {value:.4g}')
            return
        handle.get_result_async().add_done_callback(
            lambda done: self._ended(number, value, done.result())
        )

    def _ended(self, number: int, value: float, done: Any) -> None:
        """Judge how a goal ended; one that was replaced tells nothing."""
        self._over = max(self._over, number)
        if number != self._number:
            return
        result = done.result
        if done.status == GoalStatus.STATUS_SUCCEEDED or result.stalled:
            self._node.health.clear('gripper')
            return
        self._fail(f'did not reach the goal {value:.4g} and did not stall on the way')

    def _fail(self, what: str) -> None:
        self.fault = (
            f'{self._settings.gripper_action} {what}: its log tells why. Mend that, then call '
            'reset_stop and enable it.'
        )


class CommandGripper(ActionGripper):
    """``control_msgs/action/GripperCommand``: a position, with the largest effort."""

    def __init__(self, *arguments: Any) -> None:
        from control_msgs.action import GripperCommand

        self.kind = GripperCommand
        super().__init__(*arguments)

    def goal(self, value: float) -> Any:
        """Return the goal of a set-point."""
        goal = self.kind.Goal()
        goal.command.position = value
        goal.command.max_effort = self._settings.gripper_max_effort
        return goal


class ParallelGripper(ActionGripper):
    """``control_msgs/action/ParallelGripperCommand``: a joint state of the gripper's joint."""

    def __init__(self, *arguments: Any) -> None:
        from control_msgs.action import ParallelGripperCommand

        self.kind = ParallelGripperCommand
        super().__init__(*arguments)

    def goal(self, value: float) -> Any:
        """Return the goal of a set-point."""
        goal = self.kind.Goal(command=JointState(position=[value]))
        if self._settings.gripper_joint:
            goal.command.name = [self._settings.gripper_joint]
        if self._settings.gripper_max_effort:
            goal.command.effort = [self._settings.gripper_max_effort]
        return goal


def _range(settings: ControllerNodeSettings) -> tuple[float, float]:
    """Return the set-points of both ends of the gripper."""
    if not settings.gripper_axis:
        low, high = settings.gripper_values
        return low, high
    moved = axes_of(settings.names)
    place, limits = moved.index(settings.gripper_axis), settings.limits
    ends = (limits.position_low, limits.position_high)
    low, high = (axes(end, len(moved))[place] for end in ends)
    return low, high


GRIPPERS: dict[str, type[Gripper]] = {
    'topic': TopicGripper,
    'gripper_command': CommandGripper,
    'parallel_gripper': ParallelGripper,
}
