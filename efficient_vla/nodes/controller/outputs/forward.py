# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as plain numbers, for a forward_command_controller of ros2_control.

Such a controller neither interpolates nor limits, and it keeps the last value when the messages
end. With velocities it must therefore have a timeout of its own, or stand behind one.
"""

from std_msgs.msg import Float64MultiArray

from efficient_vla.nodes.base.conversions import to_wire
from efficient_vla.nodes.controller.outputs.output import ArmOutput
from efficient_vla.types import Command


class ForwardOutput(ArmOutput):
    """Positions or velocities of the axes, in the order of the columns."""

    message, topic = Float64MultiArray, 'forward_command_controller/commands'

    def send_axes(self, command: Command, axes: list[int]) -> None:
        """Send positions, or velocities while there are any and for a moment after."""
        if self._settings.output_interface != 'velocity':
            values = command.position[axes]
            self.go_on_repeating(command, axes)
        else:
            values = command.velocity[axes]
            if not self.wants(values, command.stamp):
                return
        self._publisher.publish(Float64MultiArray(data=to_wire(values, 'd')))
