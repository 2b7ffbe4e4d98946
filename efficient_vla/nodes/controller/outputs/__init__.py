# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where set-points go: one file for each kind of robot interface, found by its name."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.nodes.controller.outputs.drawing import DrawingOutput
from efficient_vla.nodes.controller.outputs.forward import ForwardOutput
from efficient_vla.nodes.controller.outputs.joint_state import JointStateOutput
from efficient_vla.nodes.controller.outputs.joint_trajectory import JointTrajectoryOutput
from efficient_vla.nodes.controller.outputs.twist import TwistOutput
from efficient_vla.types import Command


class Output(Protocol):
    """Sends set-points to a robot."""

    @property
    def pending(self) -> bool:
        """Whether more set-points are wanted although the last one stands still."""

    @property
    def covers(self) -> float:
        """Time from a set-point to that from which the robot brakes by itself without another.

        0: it stays at the last one.
        """

    def send(self, command: Command) -> None:
        """Send a set-point, the newest of the controller."""

    def restart(self) -> None:
        """Forget what was sent: the next set-point does not continue it."""


def make_output(
    node: LifecycleNode,
    settings: ControllerNodeSettings,
    brake_path: Callable[[int], tuple[np.ndarray, np.ndarray]],
    stamp: Callable[[float], Time],
) -> Output:
    """Return the output that ``settings`` name, with its publishers on ``node``.

    ``brake_path`` is that of the controller; ``stamp`` makes one of a time of motion. A dry run
    draws, and has no publisher to the robot.
    """
    if settings.dry_run:
        return DrawingOutput(node, settings.frame_id, stamp)
    if settings.output == 'joint_trajectory':
        period = 1 / settings.rate
        return JointTrajectoryOutput(node, settings.gripper_values, period, brake_path, stamp)
    if settings.output == 'forward':
        return ForwardOutput(node, settings.gripper_values, settings.output_interface)
    if settings.output == 'twist':
        return TwistOutput(node, settings.gripper_values, settings.frame_id, stamp)
    return JointStateOutput(node, stamp)
