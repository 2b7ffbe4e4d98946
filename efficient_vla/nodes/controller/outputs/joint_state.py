# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as joint states, gripper and all: what the simulated robots follow."""

from sensor_msgs.msg import JointState

from efficient_vla.columns import GRIPPER
from efficient_vla.nodes.base.conversions import to_wire
from efficient_vla.nodes.controller.outputs.output import Output
from efficient_vla.types import Command


class JointStateOutput(Output):
    """Position and velocity of every column, the gripper's effort among the positions.

    The gripper is not named before a chunk commanded it, and stays as it is.
    """

    message, topic = JointState, 'command'

    def send(self, command: Command) -> None:
        """Send a set-point."""
        names, position, velocity = command.names, command.position, command.velocity
        if not self.tells_gripper(command) and GRIPPER in names:
            columns = [k for k, name in enumerate(names) if name != GRIPPER]
            names = tuple(names[column] for column in columns)
            position, velocity = position[columns], velocity[columns]
        message = JointState(
            name=list(names), position=to_wire(position, 'd'), velocity=to_wire(velocity, 'd')
        )
        message.header.stamp = self._stamp(command.stamp)
        self._publisher.publish(message)
