# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The nodes of the graph, once: what each one is called, what it is and which parameters it has."""

from dataclasses import dataclass
from pkgutil import resolve_name

from efficient_vla.bringup import settings
from efficient_vla.settings import NodeSettings, specs
from efficient_vla.sim.catalogue import installed, node_name, robots

STAND_IN = 'arm_stand_in'
"""The node that stands in for an arm that is known by its joints alone."""


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


def _simulated() -> dict[str, Node]:
    """Return the nodes that are a robot in simulation; on a real one only their names are known."""
    module, name = 'efficient_vla.nodes.robot.node', 'SimulatedRobotNode'
    own = 'efficient_vla.sim.settings:RobotSettings'
    kind = resolve_name(own) if installed() else NodeSettings
    found = {node_name(robot): Node(module, name, kind, (robot,)) for robot in robots()}
    stand_in = 'efficient_vla.sim.drivers.settings:StandInSettings'
    found[STAND_IN] = Node(
        'efficient_vla.nodes.robot.stand_in_arm',
        'StandInArmNode',
        resolve_name(stand_in) if installed() else NodeSettings,
    )
    return found


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
    **_simulated(),
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
