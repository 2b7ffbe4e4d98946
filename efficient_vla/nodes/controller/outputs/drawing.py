# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A dry run: what would be done is drawn and nothing reaches the robot."""

import math
from typing import Any

from geometry_msgs.msg import Point
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from efficient_vla.nodes.base.qos import report_qos
from efficient_vla.nodes.controller.outputs.joint_state import JointStateOutput
from efficient_vla.types import Command

DRAWN_S = 2.0
"""The drawn motion starts again from the robot after this long: the policy sees a robot that
stands still, so that it would lead ever further away."""
PICTURE_S = 0.1
STEP_S = 0.02
"""Points of the line are this far apart in time."""
WIDTH_M = 0.006
COLOUR = ColorRGBA(r=1.0, g=0.45, b=0.1, a=0.9)


class DrawingOutput(JointStateOutput):
    """The set-points as a joint state on a topic of their own, for the model of a second robot.

    Set-points of an end effector are also drawn as a line, the way since the last start.
    """

    topic = 'dry_run/command'

    def __init__(self, node: LifecycleNode, *arguments: Any) -> None:
        super().__init__(node, *arguments)
        self._markers = node.create_lifecycle_publisher(
            MarkerArray, 'dry_run/markers', report_qos()
        )
        self.restart()

    def restart(self) -> None:
        """Begin a new line."""
        super().restart()
        self._line: list[Point] = []
        self._sampled = self._drawn = -math.inf

    def send(self, command: Command) -> None:
        """Draw a set-point."""
        super().send(command)
        values = dict(zip(command.names, command.position.tolist(), strict=True))
        if not {'x', 'y', 'z'} <= values.keys():
            return
        now = command.stamp
        if not 0 <= now - self._sampled < STEP_S:
            self._sampled = now
            self._line.append(Point(x=values['x'], y=values['y'], z=values['z']))
            del self._line[: -round(DRAWN_S / STEP_S) - 1]
        if len(self._line) > 1 and not 0 <= now - self._drawn < PICTURE_S:
            self._drawn = now
            self._markers.publish(MarkerArray(markers=[self._marker(now)]))

    def _marker(self, now: float) -> Marker:
        marker = Marker(ns='dry_run', type=Marker.LINE_STRIP, action=Marker.ADD, color=COLOUR)
        marker.header.frame_id = self._settings.frame_id
        marker.header.stamp = self._stamp(now)
        marker.pose.orientation.w = 1.0
        marker.scale.x = WIDTH_M
        marker.points = list(self._line)
        return marker
