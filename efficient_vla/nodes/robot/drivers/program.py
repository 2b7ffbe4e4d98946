# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the driver of a UR adds: a speed slider, and a program that a protective stop ends."""

from typing import Any

from std_msgs.msg import Bool, Float64
from std_srvs.srv import Trigger

from efficient_vla.nodes.base.qos import latched_qos, report_qos

STATUS = 'io_and_status_controller'


class Program:
    """The program on the robot, and how fast the robot goes.

    ``~/protective_stop`` is what happens to a real robot. It rests where it is from then on; the
    stop is unlocked by one service and the program started by another, as on a UR.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self.speed = 1.0
        """The speed slider, from 0 to 1."""
        self.running = True
        self._locked = False
        self._told: bool | None = None
        self._speed = node.create_publisher(
            Float64, 'speed_scaling_state_broadcaster/speed_scaling', report_qos()
        )
        self._running = node.create_publisher(
            Bool, f'{STATUS}/robot_program_running', latched_qos()
        )
        self._services = [
            node.create_service(Trigger, name, answer)
            for name, answer in (
                ('~/protective_stop', self._stop),
                ('dashboard_client/unlock_protective_stop', self._unlock),
                (f'{STATUS}/resend_robot_program', self._resend),
            )
        ]

    def publish(self, stamp: float) -> None:
        """Say how fast the robot goes, and whether its program runs where that changed."""
        self._speed.publish(Float64(data=100.0 * self.speed))
        if self._told != self.running:
            self._told = self.running
            self._running.publish(Bool(data=self.running))

    def close(self) -> None:
        """Take topics and services back."""
        for publisher in (self._speed, self._running):
            self._node.destroy_publisher(publisher)
        for service in self._services:
            self._node.destroy_service(service)

    def _stop(self, request: Trigger.Request, response: Trigger.Response) -> Any:
        self.running, self._locked = False, True
        response.success, response.message = True, 'protective stop'
        return response

    def _unlock(self, request: Trigger.Request, response: Trigger.Response) -> Any:
        self._locked = False
        response.success, response.message = True, 'protective stop released'
        return response

    def _resend(self, request: Trigger.Request, response: Trigger.Response) -> Any:
        if self._locked:
            response.message = 'the robot is in a protective stop; unlock it first'
        else:
            self.running = response.success = True
        return response
