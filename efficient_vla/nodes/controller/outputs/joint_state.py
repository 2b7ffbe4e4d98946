# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as joint states, gripper and all: what the simulated robots follow."""

from sensor_msgs.msg import JointState

from efficient_vla.columns import GRIPPER
from efficient_vla.nodes.base.conversions import joint_state
from efficient_vla.nodes.controller.outputs.output import Output
from efficient_vla.types import Command


class JointStateOutput(Output):
    """Position and velocity of every column, the gripper's effort among the positions.

    The gripper is not named before a chunk commanded it, and stays as it is.
    """

    message, topic = JointState, 'command'

    def send(self, command: Command) -> None:
        """Send a set-point."""
        told = self.tells_gripper(command)
        columns = [k for k, name in enumerate(command.names) if told or name != GRIPPER]
        names = [command.names[column] for column in columns]
        position, velocity = command.position[columns], command.velocity[columns]
        message = joint_state(names, position, command.stamp, velocity)
        message.header.stamp = self._stamp(command.stamp)
        self._publisher.publish(message)
