# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as plain numbers, for a forward_command_controller of ros2_control.

Such a controller neither interpolates nor limits, and it keeps the last value when the messages
end. With velocities it must therefore have a timeout of its own, or stand behind one.
"""

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Float64MultiArray

from efficient_vla.nodes.base.conversions import to_wire
from efficient_vla.nodes.base.qos import newest_qos
from efficient_vla.nodes.controller.outputs.ending import Ending
from efficient_vla.nodes.controller.outputs.gripper import GripperOutput, arm_columns
from efficient_vla.types import Command


class ForwardOutput:
    """Positions or velocities of the axes, in the order of the columns."""

    covers = 0.0

    def __init__(self, node: LifecycleNode, gripper: tuple[float, ...], interface: str) -> None:
        self._gripper = GripperOutput(node, gripper)
        self._velocities = interface == 'velocity'
        self._ending = Ending()
        self._publisher = node.create_lifecycle_publisher(
            Float64MultiArray, 'forward_command_controller/commands', newest_qos()
        )

    @property
    def pending(self) -> bool:
        """Whether the robot still has to be told that it stands."""
        return self._velocities and self._ending.pending

    def restart(self) -> None:
        """Leave the gripper as it is until a chunk says more."""
        self._gripper.restart()

    def send(self, command: Command) -> None:
        """Send a set-point."""
        self._gripper.send(command)
        axes = arm_columns(command.names)
        values = command.position[axes]
        if self._velocities:
            values = command.velocity[axes]
            if not self._ending.wants(values, command.stamp):
                return
        self._publisher.publish(Float64MultiArray(data=to_wire(values, 'd')))
