# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as joint states, gripper and all: what the simulated robots follow."""

from sensor_msgs.msg import JointState

from efficient_vla.nodes.base.conversions import command_to_message
from efficient_vla.nodes.controller.outputs.output import Output
from efficient_vla.types import Command


class JointStateOutput(Output):
    """Position and velocity of every column, the gripper's effort among the positions."""

    message, topic = JointState, 'command'

    def send(self, command: Command) -> None:
        """Send a set-point."""
        message = command_to_message(command)
        message.header.stamp = self._stamp(command.stamp)
        self._publisher.publish(message)
