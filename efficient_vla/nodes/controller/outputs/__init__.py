# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where set-points go: one file for each kind of robot interface, found by its name."""

from pkgutil import resolve_name
from typing import Any

from rclpy.lifecycle import LifecycleNode

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.nodes.controller.outputs.output import Output

PLACE = 'efficient_vla.nodes.controller.outputs'
KINDS = {
    'command': 'joint_state:JointStateOutput',
    'joint_trajectory': 'joint_trajectory:JointTrajectoryOutput',
    'follow_joint_trajectory': 'follow_joint_trajectory:FollowTrajectoryOutput',
    'forward': 'forward:ForwardOutput',
    'twist': 'twist:TwistOutput',
}
"""Output -> module and class; only the one that is used is loaded, with the messages it needs."""


def make_output(node: LifecycleNode, settings: ControllerNodeSettings, *motion: Any) -> Output:
    """Return the output that ``settings`` name, with its publishers on ``node``.

    ``motion`` is the rest of what an ``Output`` is made of. A dry run draws, and has no publisher
    to the robot.
    """
    name = 'drawing:DrawingOutput' if settings.dry_run else KINDS[settings.output]
    kind: type[Output] = resolve_name(f'{PLACE}.{name}')
    return kind(node, settings, *motion)
