# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points as end-effector velocities, for MoveIt Servo.

Servo follows velocities, so the robot drifts from the sum of what it was told; the controller
starts from where the robot is whenever it stands still. Chunks of displacements do not mind the
drift between, chunks of positions do. When the messages end, Servo halts by itself
(``incoming_command_timeout``).

Servo takes twists once its command type is switched to them. That is asked for where
``moveit_msgs`` is installed, and otherwise by ``ros2 service call
/servo_node/switch_command_type moveit_msgs/srv/ServoCommandType "{command_type: 1}"``.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from geometry_msgs.msg import TwistStamped
from rclpy.lifecycle import LifecycleNode

from efficient_vla.bringup.interfaces import SWITCH
from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.columns import POSITION
from efficient_vla.control.attitude import Attitude
from efficient_vla.nodes.controller.outputs.output import ArmOutput
from efficient_vla.types import Command


class TwistOutput(ArmOutput):
    """Velocity of the end effector, and its angular velocity, both along the axes of ``frame_id``.

    Servo takes that frame from the header.
    """

    message, topic = TwistStamped, 'servo_node/delta_twist_cmds'

    def __init__(self, node: LifecycleNode, settings: ControllerNodeSettings, *more: Any) -> None:
        super().__init__(node, settings, *more)
        unitless = settings.servo_units == 'unitless'
        self._scale = settings.servo_scale if unitless else 1.0
        self._angular_scale = settings.servo_angular_scale if unitless else 1.0
        self._attitude = Attitude(settings.names)
        self._switch: Any = None
        if find_spec('moveit_msgs') is not None:
            kind = import_module('moveit_msgs.srv').ServoCommandType
            self._request = kind.Request(command_type=kind.Request.TWIST)
            self._switch = node.create_client(kind, SWITCH)

    def restart(self) -> None:
        """Ask for twists again: Servo may have been started anew."""
        super().restart()
        if self._switch is not None and self._switch.service_is_ready():
            answer = self._switch.call_async(self._request)
            answer.add_done_callback(lambda done: self._switched(done.result()))

    def _switched(self, response: Any) -> None:
        if response is not None and not response.success:
            self.fault = f'{SWITCH} refused twists. See the log of Servo.'

    def send_axes(self, command: Command, axes: list[int]) -> None:
        """Send the velocity while there is any, and zeros for a moment after."""
        if not self.wants(command.velocity[axes], command.stamp):
            return
        message = TwistStamped()
        message.header.stamp = self._stamp(command.stamp)
        message.header.frame_id = self._settings.frame_id
        for column in axes:
            name = command.names[column]
            if name in POSITION:
                value = float(command.velocity[column] / self._scale)
                setattr(message.twist.linear, name, value)
        rates = self._attitude.rates(command.position, command.velocity)
        for name, rate in zip(POSITION, rates, strict=True):
            setattr(message.twist.angular, name, rate / self._angular_scale)
        self._publisher.publish(message)
