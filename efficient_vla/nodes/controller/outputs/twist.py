# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as end-effector velocities, for MoveIt Servo.

Servo follows velocities, so the robot drifts from the sum of what it was told; the controller
starts from where the robot is whenever it stands still. Chunks of displacements do not mind the
drift between, chunks of positions do. When the messages end, Servo halts by itself
(``incoming_command_timeout``).
"""

from geometry_msgs.msg import TwistStamped

from efficient_vla.nodes.controller.outputs.output import ArmOutput
from efficient_vla.types import Command


class TwistOutput(ArmOutput):
    """Linear velocity of the end effector; it does not turn."""

    message, topic = TwistStamped, 'servo_node/delta_twist_cmds'

    def send_axes(self, command: Command, axes: list[int]) -> None:
        """Send the velocity while there is any, and zeros for a moment after."""
        if not self.wants(command.velocity[axes], command.stamp):
            return
        message = TwistStamped()
        message.header.stamp = self._stamp(command.stamp)
        message.header.frame_id = self._settings.frame_id
        for column in axes:
            setattr(message.twist.linear, command.names[column], float(command.velocity[column]))
        self._publisher.publish(message)
