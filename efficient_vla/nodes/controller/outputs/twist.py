# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as end-effector velocities, for MoveIt Servo.

Servo follows velocities, so the robot drifts from the sum of what it was told; the controller
starts from where the robot is whenever it stands still. Chunks of displacements do not mind the
drift between, chunks of positions do. When the messages end, Servo halts by itself
(``incoming_command_timeout``).
"""

from collections.abc import Callable

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TwistStamped
from rclpy.lifecycle import LifecycleNode

from efficient_vla.nodes.base.qos import newest_qos
from efficient_vla.nodes.controller.outputs.ending import Ending
from efficient_vla.nodes.controller.outputs.gripper import GripperOutput, arm_columns
from efficient_vla.types import Command

AXES = ('x', 'y', 'z')


class TwistOutput:
    """Linear velocity of the end effector; it does not turn."""

    covers = 0.0

    def __init__(
        self,
        node: LifecycleNode,
        gripper: tuple[float, ...],
        frame_id: str,
        stamp: Callable[[float], Time],
    ) -> None:
        self._stamp = stamp
        self._gripper = GripperOutput(node, gripper)
        self._frame_id = frame_id
        self._ending = Ending()
        self._publisher = node.create_lifecycle_publisher(
            TwistStamped, 'servo_node/delta_twist_cmds', newest_qos()
        )

    @property
    def pending(self) -> bool:
        """Whether the robot still has to be told that it stands."""
        return self._ending.pending

    def restart(self) -> None:
        """Leave the gripper as it is until a chunk says more."""
        self._gripper.restart()

    def send(self, command: Command) -> None:
        """Send a set-point."""
        self._gripper.send(command)
        columns = arm_columns(command.names)
        if not self._ending.wants(command.velocity[columns], command.stamp):
            return
        message = TwistStamped()
        message.header.stamp = self._stamp(command.stamp)
        message.header.frame_id = self._frame_id
        for column in columns:
            setattr(message.twist.linear, command.names[column], float(command.velocity[column]))
        self._publisher.publish(message)
