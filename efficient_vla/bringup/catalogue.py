# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The nodes of the graph, once: what each one is called, what it is and which parameters it has."""

from dataclasses import dataclass

from efficient_vla.bringup import settings
from efficient_vla.settings import specs
from efficient_vla.sim.catalogue import node_name, robots
from efficient_vla.sim.settings import RobotSettings


@dataclass(frozen=True, slots=True)
class Node:
    """One kind of node; its module is imported only in the process that runs it."""

    module: str
    name: str
    """Name of its class in ``module``."""
    settings: type
    arguments: tuple[str, ...] = ()
    policy: bool = False
    """Whether it runs a part of the policy, and so loads torch."""


NODES = {
    'perception': Node(
        'efficient_vla.nodes.stages.perception',
        'PerceptionNode',
        settings.PerceptionNodeSettings,
        policy=True,
    ),
    'reasoner': Node(
        'efficient_vla.nodes.stages.reasoner',
        'ReasonerNode',
        settings.ReasonerNodeSettings,
        policy=True,
    ),
    'actor': Node(
        'efficient_vla.nodes.stages.actor', 'ActorNode', settings.ActorNodeSettings, policy=True
    ),
    'controller': Node(
        'efficient_vla.nodes.controller.node', 'ControllerNode', settings.ControllerNodeSettings
    ),
    **{
        node_name(robot): Node(
            'efficient_vla.nodes.robot.node', 'SimulatedRobotNode', RobotSettings, (robot,)
        )
        for robot in robots()
    },
    'monitor': Node(
        'efficient_vla.nodes.monitor.node', 'MonitorNode', settings.MonitorNodeSettings
    ),
}
POLICY_NODES = tuple(name for name, node in NODES.items() if node.policy)
NODE_SETTINGS = {name: node.settings for name, node in NODES.items()}
KINDS = {
    name: {
        parameter: type(default[0] if default else spec.item())
        if isinstance(default, tuple)
        else type(default)
        for parameter, default, spec in specs(kind)
    }
    for name, kind in NODE_SETTINGS.items()
}
"""Node -> parameter -> type of its value, or of the values of its list."""
