# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where set-points go: one file for each kind of robot interface, found by its name."""

from typing import Any

from rclpy.lifecycle import LifecycleNode

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.nodes.controller.outputs.drawing import DrawingOutput
from efficient_vla.nodes.controller.outputs.forward import ForwardOutput
from efficient_vla.nodes.controller.outputs.joint_state import JointStateOutput
from efficient_vla.nodes.controller.outputs.joint_trajectory import JointTrajectoryOutput
from efficient_vla.nodes.controller.outputs.output import Output
from efficient_vla.nodes.controller.outputs.twist import TwistOutput

KINDS: dict[str, type[Output]] = {
    'command': JointStateOutput,
    'joint_trajectory': JointTrajectoryOutput,
    'forward': ForwardOutput,
    'twist': TwistOutput,
}


def make_output(node: LifecycleNode, settings: ControllerNodeSettings, *motion: Any) -> Output:
    """Return the output that ``settings`` name, with its publishers on ``node``.

    ``motion`` is the rest of what an ``Output`` is made of. A dry run draws, and has no publisher
    to the robot.
    """
    kind = DrawingOutput if settings.dry_run else KINDS[settings.output]
    return kind(node, settings, *motion)
