# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as joint states, gripper and all: what the simulated robots follow."""

from collections.abc import Callable

from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState

from efficient_vla.nodes.base.conversions import command_to_message
from efficient_vla.nodes.base.qos import newest_qos
from efficient_vla.types import Command


class JointStateOutput:
    """Position and velocity of every column, the gripper's effort among the positions."""

    pending = False
    covers = 0.0

    def __init__(self, node: LifecycleNode, stamp: Callable[[float], Time]) -> None:
        self._stamp = stamp
        self._publisher = node.create_lifecycle_publisher(JointState, 'command', newest_qos())

    def restart(self) -> None:
        """Do nothing: every set-point stands for itself."""

    def send(self, command: Command) -> None:
        """Send a set-point."""
        message = command_to_message(command)
        message.header.stamp = self._stamp(command.stamp)
        self._publisher.publish(message)
