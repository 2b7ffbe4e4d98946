# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the security policy allows a node is what the node has: nothing missing, nothing more."""

import functools
from fnmatch import fnmatchcase

import pytest
from rclpy.action.graph import (
    get_action_client_names_and_types_by_node,
    get_action_server_names_and_types_by_node,
)
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from efficient_vla.bringup.interfaces import of_graph
from efficient_vla.bringup.settings import OUTPUTS
from efficient_vla.nodes.base.qos import image_qos, newest_qos
from efficient_vla.nodes.client.episode_client import EpisodeClient
from efficient_vla.nodes.client.graph_recorder import GraphRecorder
from efficient_vla.nodes.client.state_watch import StateWatch
from efficient_vla.nodes.controller.node import ControllerNode
from efficient_vla.nodes.monitor.degradation import Degradation
from efficient_vla.nodes.monitor.node import MonitorNode
from efficient_vla.nodes.robot.node import SimulatedRobotNode
from efficient_vla.nodes.stages.actor import ActorNode
from efficient_vla.nodes.stages.perception import PerceptionNode
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.sim.catalogue import simulation

ROBOT = 'metaworld_robot'
CAMERAS = ('front', 'wrist')
WHEN_ASKED = {
    ('reasoner', '/visual_tokens/signals_wanted'),
    ('actor', '/plan_cache'),
    ('controller', '/servo_node/switch_command_type'),
}
"""Subscriptions of some techniques and of some ways to share processes, and the service of MoveIt
Servo, which is asked where ``moveit_msgs`` is installed."""


def known(cameras=('camera',), **parameters):
    given = {ROBOT: {}, **parameters}
    return of_graph(given, cameras)


def full(name, node):
    return name.replace('~', f'/{node}', 1) if name[0] in '/~' else f'/{name}'


def has(graph, node):
    """Return what a node has in the graph, by the fields of ``Interfaces``."""
    ask, peer = (node, '/'), graph.peer
    topics = peer.get_publisher_names_and_types_by_node
    found = {
        'publishes': topics(*ask),
        'hears': peer.get_subscriber_names_and_types_by_node(*ask),
        'offers': peer.get_service_names_and_types_by_node(*ask),
        'asks': peer.get_client_names_and_types_by_node(*ask),
        'executes': get_action_server_names_and_types_by_node(peer, *ask),
        'calls': get_action_client_names_and_types_by_node(peer, *ask),
    }
    return {field: {name for name, _ in names} for field, names in found.items()}


def unlike(graph, node, allowed):
    """Return what a node has and may not have, and what it may have and has not."""
    found = has(graph, node)
    actions = found['executes'] | found['calls']
    wrong = []
    for field, names in found.items():
        patterns = {full(name, node) for name in getattr(allowed, field)}
        names = {n for n in names if n.partition('/_action/')[0] not in actions or n in actions}
        more = [n for n in names if not any(fnmatchcase(n, p) for p in patterns)]
        less = [p for p in patterns if not any(fnmatchcase(n, p) for n in names)]
        wrong += [f'{node} {field} {name}, not allowed' for name in more]
        wrong += [f'{node} may {field} {p}, has not' for p in less if (node, p) not in WHEN_ASKED]
    return wrong


def matches(graph, node, allowed):
    graph.until(lambda: node in graph.peer.get_node_names())
    graph.until(lambda: not unlike(graph, node, allowed), timeout=5.0)


def settled(graph, node, allowed):
    """Check a node, which the peer discovers bit by bit."""
    try:
        matches(graph, node, allowed)
    except AssertionError:
        assert not unlike(graph, node, allowed)


def test_the_stages_have_what_the_policy_allows(graph):
    for kind in (PerceptionNode, ReasonerNode, ActorNode):
        node = graph.add(kind)
        settled(graph, node.get_name(), known()[node.get_name()])


@pytest.mark.parametrize('dry', [False, True])
@pytest.mark.parametrize('output', OUTPUTS)
def test_the_controller_has_what_the_policy_allows(graph, output, dry):
    given = {'output': output, 'dry_run': dry}
    graph.add(ControllerNode, **given)
    settled(graph, 'controller', known(controller=given)['controller'])


def test_the_watch_of_the_controller_hears_all_that_are_alive(graph):
    graph.add(ControllerNode, start=False)
    settled(graph, '_controller_liveliness', known()['_controller_liveliness'])


def test_the_monitor_has_what_the_policy_allows_while_somebody_looks(graph):
    node = graph.add(MonitorNode, cameras=list(CAMERAS))
    node.degradation = Degradation(node, node._table, act=True)
    graph.hear(Image, 'overlay', image_qos())
    graph.hear(MarkerArray, 'markers', newest_qos())
    found = known(monitor={'cameras': CAMERAS}, cameras=CAMERAS)
    settled(graph, 'monitor', found['monitor'])


def test_the_simulated_robot_has_what_the_policy_allows(graph):
    node = SimulatedRobotNode(
        parameter_overrides=[
            Parameter('mode', value='lockstep'),
            Parameter('use_sim_time', value=True),
        ]
    )
    graph.nodes.append(node)
    graph.executor.add_node(node)
    settled(graph, ROBOT, known()[ROBOT])


ONLOOKERS = {
    'episode_client': ('operator', functools.partial(EpisodeClient, lambda: None, True)),
    'state_watch': ('observer', functools.partial(StateWatch, ('actor', 'controller'))),
    'graph_recorder': (
        'observer',
        lambda: GraphRecorder(simulation('metaworld')),
    ),
}


@pytest.mark.parametrize('name', ONLOOKERS)
def test_onlookers_need_no_more_than_their_role_allows(graph, name):
    role, make = ONLOOKERS[name]
    looker = make()
    try:
        graph.until(lambda: name in graph.peer.get_node_names())
        graph.until(lambda: has(graph, name)['hears'] | has(graph, name)['asks'])
        graph.until(lambda: '/parameter_events' in has(graph, name)['publishes'])
        wrong = [line for line in unlike(graph, name, known()[role]) if 'not allowed' in line]
        assert not wrong
        enclaves = {n: e for n, _, e in graph.peer.get_node_names_and_namespaces_with_enclaves()}
        assert enclaves[name] == f'/efficient_vla/{role}'
    finally:
        looker.close()
