# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as joint states, gripper and all: what the simulated robots follow."""

from dataclasses import replace

from sensor_msgs.msg import JointState

from efficient_vla.control.contract import GRIPPER
from efficient_vla.nodes.base.conversions import command_to_message
from efficient_vla.nodes.controller.outputs.output import Output
from efficient_vla.types import Command


class JointStateOutput(Output):
    """Position and velocity of every column, the gripper's effort among the positions.

    The gripper is not named before a chunk commanded it, and stays as it is.
    """

    message, topic = JointState, 'command'

    def send(self, command: Command) -> None:
        """Send a set-point."""
        if GRIPPER in command.names and not self.tells_gripper(command):
            axes = [column for column, name in enumerate(command.names) if name != GRIPPER]
            command = replace(
                command,
                position=command.position[axes],
                velocity=command.velocity[axes],
                names=tuple(command.names[axis] for axis in axes),
            )
        message = command_to_message(command)
        message.header.stamp = self._stamp(command.stamp)
        self._publisher.publish(message)
