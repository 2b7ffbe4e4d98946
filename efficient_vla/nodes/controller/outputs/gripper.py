# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The gripper of robots whose arm takes no gripper column."""

import numpy as np
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Float64MultiArray

from efficient_vla.control.contract import GRIPPER
from efficient_vla.nodes.base.conversions import to_wire
from efficient_vla.nodes.base.qos import newest_qos
from efficient_vla.types import Command


class GripperOutput:
    """One value a set-point, for a forward_command_controller of the gripper's joint.

    ``values`` are those of an open and of a closed gripper, efforts -1 and +1; the way between
    them is straight. Nothing is sent before the first effort that is not 0: until a chunk says one,
    the gripper stays as it is.
    """

    def __init__(self, node: LifecycleNode, values: tuple[float, ...]) -> None:
        self._values = values
        self._told = False
        self._publisher = node.create_lifecycle_publisher(
            Float64MultiArray, 'gripper_command', newest_qos()
        )

    def restart(self) -> None:
        """Leave the gripper as it is until the next effort that is not 0."""
        self._told = False

    def send(self, command: Command) -> None:
        """Send the gripper's part of a set-point, where it has one."""
        if GRIPPER not in command.names:
            return
        effort = command.position[command.names.index(GRIPPER)]
        self._told = self._told or effort != 0
        if self._told:
            value = np.interp(effort, (-1.0, 1.0), self._values)
            self._publisher.publish(Float64MultiArray(data=to_wire(np.array([value]), 'd')))


def arm_columns(names: tuple[str, ...]) -> list[int]:
    """Return the columns of a command that are axes."""
    return [column for column, name in enumerate(names) if name != GRIPPER]
