# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One publisher drives the robot; another one does so only after it, and never unnoticed."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from nodes.arm import Arm, Status
from nodes.test_reasoner_node import tokens
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from efficient_vla import msg
from efficient_vla.nodes.base import source
from efficient_vla.nodes.base.conversions import plan_to_message
from efficient_vla.nodes.base.qos import image_qos, latched_qos, newest_qos, state_qos
from efficient_vla.nodes.base.source import SOURCE_S
from efficient_vla.nodes.stages.actor import ActorNode
from efficient_vla.nodes.stages.perception import PerceptionNode
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.types import Plan


@pytest.fixture
def arm(graph):
    return Arm(graph)


@pytest.fixture
def other(graph, arm):
    """Return a second actor: a node with a publisher of chunks."""
    node = Node('second_actor', start_parameter_services=False)
    graph.executor.add_node(node)
    publisher = node.create_publisher(msg.ActionChunk, 'action_chunk', newest_qos())
    graph.until(lambda: publisher.get_subscription_count() > 0)
    yield publisher
    graph.executor.remove_node(node)
    node.destroy_node()


def send(arm, publisher, **fields):
    count = len(arm.status)
    publisher.publish(arm.make_chunk(**fields))
    arm.graph.until(lambda: len(arm.status) > count)


def test_a_second_actor_is_refused_with_both_names_and_a_remedy(arm, other):
    arm.moving()
    send(arm, other)
    said = arm.node.health.message('chunk')
    assert '/second_actor' in said
    assert '/peer' in said
    assert 'End one of them' in said
    assert arm.status[-1].chunk_sequence == 1
    assert arm.status[-1].rejected_chunks == 1
    arm.send_chunk(arm.make_chunk(sequence=2))
    assert arm.status[-1].chunk_sequence == 2
    assert not arm.node.health.message('chunk')


def test_the_highest_sequence_of_another_actor_locks_nobody_out(arm, other):
    arm.moving()
    send(arm, other, sequence=2**32 - 1)
    for number in (2, 3):
        arm.send_chunk(arm.make_chunk(sequence=number))
        assert arm.status[-1].chunk_sequence == number
        arm.run(0.1)
    assert arm.status[-1].underruns == 0


def test_an_actor_whose_chunks_are_all_bad_does_not_keep_the_good_one_out(arm, other):
    arm.locate()
    assert arm.enable().success
    send(arm, other, names=('a', 'b', 'c', 'gripper'))
    arm.send_chunk()
    assert arm.state == Status.STATE_TRACKING


@pytest.fixture
def again(graph, arm):
    """Return a publisher of a node that bears the name of the actor, one that was started again."""
    node = Node('peer', start_parameter_services=False)
    graph.executor.add_node(node)
    publisher = node.create_publisher(msg.ActionChunk, 'action_chunk', newest_qos())
    graph.until(lambda: publisher.get_subscription_count() > 0)
    yield publisher
    graph.executor.remove_node(node)
    node.destroy_node()


def gone(graph, arm):
    """Take the actor out of the graph."""
    graph.peer.destroy_publisher(arm.chunks)
    graph.until(lambda: graph.peer.count_publishers('action_chunk') == 1)
    graph.until(lambda: len(arm.node.get_publishers_info_by_topic('action_chunk')) == 1)


def test_an_actor_that_was_started_again_is_taken_once_the_old_one_is_gone(graph, arm, again):
    arm.moving()
    gone(graph, arm)
    send(arm, again)
    assert arm.status[-1].chunk_sequence == arm.sequence
    assert arm.state == Status.STATE_TRACKING


def test_an_actor_that_was_started_again_is_taken_once_the_chunks_of_before_ran_out(arm, again):
    arm.moving()
    arm.run(0.6)
    assert arm.state == Status.STATE_HOLDING
    send(arm, again, sequence=1)
    assert arm.state == Status.STATE_TRACKING


@pytest.mark.parametrize('how', ['gone', 'silent'])
def test_a_stranger_is_not_taken_while_enabled_though_the_actor_is_gone(graph, arm, other, how):
    arm.moving()
    arm.run(0.6)
    if how == 'gone':
        gone(graph, arm)
    assert arm.state == Status.STATE_HOLDING
    for _ in range(2):
        arm.run(1.1)
        send(arm, other, sequence=1)
        said = arm.node.health.message('chunk')
        assert 'came from /second_actor (' in said
        assert '/peer, which is gone or silent' in said
        assert 'disable and enable the controller' in said
        assert arm.state == Status.STATE_HOLDING


def test_the_node_that_moves_the_robot_is_shown_while_it_may(graph, arm):
    arm.locate()
    assert arm.enable().success
    assert arm.status[-1].authority == ''
    arm.send_chunk()
    shown = arm.status[-1].authority
    gid = bytes(arm.node.get_publishers_info_by_topic('action_chunk')[0].endpoint_gid)[:16]
    assert shown == f'/peer ({gid[-8:].hex()})'
    assert arm.node.report()['authority'] == shown
    assert arm.enable(False).success
    assert arm.status[-1].authority == ''


@pytest.fixture
def rival(graph):
    """Return a function that begins to publish where the controller commands, and its node."""
    nodes = []

    def make():
        node = Node('rival', start_parameter_services=False)
        graph.executor.add_node(node)
        nodes.append(node)
        return node.create_publisher(JointState, 'command', newest_qos())

    yield make
    for node in nodes:
        graph.executor.remove_node(node)
        node.destroy_node()


def test_somebody_else_who_commands_the_robot_is_named(graph, arm, rival):
    arm.moving()
    arm.node.look()
    assert not arm.node.health.message('rivals')
    rival()
    graph.until(lambda: arm.node.look() or arm.node.health.message('rivals'))
    said = arm.node.health.message('rivals')
    assert said.startswith('/rival also publishes on /command; expected /controller alone')
    assert arm.state == Status.STATE_TRACKING


def test_somebody_else_who_commands_the_robot_stops_it_where_that_is_asked_for(graph, rival):
    arm = Arm(graph, rivals='stop')
    arm.moving()
    rival()
    graph.until(lambda: arm.node.look() or arm.node.health.message('rivals'))
    assert arm.state == Status.STATE_STOPPED
    graph.until(lambda: '/rival' in arm.status[-1].reason)
    arm.run(0.5)
    assert arm.reset_stop().success
    refused = arm.enable()
    assert not refused.success
    assert '/rival also publishes' in refused.message


def test_enabling_anew_takes_whoever_comes_first(arm, other):
    arm.moving()
    arm.send_chunk()
    assert arm.enable(False).success
    arm.run(0.25)
    assert arm.enable().success
    arm.run(0.01)
    send(arm, other)
    assert arm.state == Status.STATE_TRACKING


@pytest.fixture
def second(graph):
    """Return a function that returns a publisher of a second node."""
    node = Node('second', start_parameter_services=False)
    graph.executor.add_node(node)

    def make(kind, topic, qos):
        publisher = node.create_publisher(kind, topic, qos)
        graph.until(lambda: publisher.get_subscription_count() > 0)
        return publisher

    yield make
    graph.executor.remove_node(node)
    node.destroy_node()


def two(graph, second, node, kind, topic, qos):
    """Return the publishers of the peer and of the second node, once ``node`` knows of both."""
    found = graph.publisher(kind, topic, qos), second(kind, topic, qos)
    graph.until(lambda: node.count_publishers(topic) == 2)
    return found


def told(node, topic):
    """Check that ``node`` names both publishers of a topic."""
    said = node.health.message(f'{topic}_source')
    assert 'from /second (' in said
    assert 'those of /peer (' in said
    assert f'expected one publisher on {topic}, which has 2. End one of them, or remap it.' in said
    assert node.health.status('', {}).level == DiagnosticStatus.WARN


def test_images_of_a_second_camera_are_left_out_and_told(graph, second, monkeypatch):
    node = graph.add(PerceptionNode)
    topic = 'camera/image_raw'
    frames = []
    monkeypatch.setattr(node, 'submit', frames.append)
    first, other = two(graph, second, node, Image, topic, image_qos())
    for number in range(1, 4):
        graph.set_time(graph.now + 0.1)
        first.publish(graph.image(0))
        graph.until(lambda n=number: len(frames) == n)
        graph.set_time(graph.now + 0.1)
        other.publish(graph.image(255))
        graph.until(lambda n=number: node.health.counts[f'{topic}_source'] == n)
    told(node, topic)
    assert [int(frame.images[node.loaded.cameras[0]].max()) for frame in frames] == [0] * 3
    graph.set_time(graph.now + SOURCE_S + 0.1)
    other.publish(graph.image(255))
    graph.until(lambda: len(frames) == 4)


def test_tokens_of_a_second_perception_are_left_out_and_told(graph, second):
    node = graph.add(ReasonerNode)
    first, other = two(graph, second, node, msg.VisualTokens, 'visual_tokens', newest_qos())
    first.publish(tokens(graph.now))
    graph.until(lambda: node._newest)
    graph.set_time(graph.now + 0.1)
    other.publish(tokens(graph.now, count=3))
    graph.until(lambda: node.health.message('visual_tokens_source'))
    told(node, 'visual_tokens')
    assert len(node._newest[0].features) == 4


def test_plans_of_a_second_reasoner_wait_until_those_of_the_first_ran_out(graph, second):
    node = graph.add(ActorNode)
    first, other = two(graph, second, node, msg.Plan, 'plan', latched_qos())

    def plan(sequence):
        made = Plan(np.ones((1, 3), np.float32), 'go', graph.now, 2.0, sequence=sequence)
        return plan_to_message(made)

    first.publish(plan(1))
    graph.until(lambda: node._plan)
    graph.set_time(graph.now + 1.9)
    other.publish(plan(7))
    graph.until(lambda: node.health.message('plan_source'))
    told(node, 'plan')
    assert node._plan.sequence == 1
    graph.set_time(graph.now + 0.2)
    other.publish(plan(8))
    graph.until(lambda: node._plan.sequence == 8)


@pytest.mark.parametrize(('pause', 'waits'), [(0.25, SOURCE_S), (1.0, 4.0), (6.0, 10.0)])
def test_a_reasoner_that_is_late_for_its_pace_is_replaced_though_its_plans_hold(
    graph, second, pause, waits
):
    node = graph.add(ActorNode)
    first, other = two(graph, second, node, msg.Plan, 'plan', latched_qos())

    def send(publisher, sequence):
        made = Plan(np.ones((1, 3), np.float32), 'go', graph.now, 30.0, sequence=sequence)
        publisher.publish(plan_to_message(made))

    for sequence in (1, 2):
        graph.set_time(graph.now + pause)
        send(first, sequence)
        graph.until(lambda n=sequence: node._plan and node._plan.sequence == n)
    graph.set_time(graph.now + waits - 0.1)
    send(other, 7)
    graph.until(lambda: node.health.message('plan_source'))
    graph.set_time(graph.now + 0.2)
    send(other, 8)
    graph.until(lambda: node._plan.sequence == 8)


def test_a_second_source_that_ended_is_told_no_more(graph, second, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(source, 'monotonic', lambda: clock[0])
    node = graph.add(ReasonerNode)
    first, other = two(graph, second, node, msg.VisualTokens, 'visual_tokens', newest_qos())
    first.publish(tokens(graph.now))
    graph.until(lambda: node._newest)
    other.publish(tokens(graph.now))
    graph.until(lambda: node.health.message('visual_tokens_source'))
    for passed, still in ((1.0, True), (5.0, False)):
        clock[0] += passed
        graph.set_time(graph.now + 0.1)
        first.publish(tokens(graph.now))
        graph.until(lambda: node._newest[0].stamp == pytest.approx(graph.now))
        assert bool(node.health.message('visual_tokens_source')) == still


def test_two_drivers_of_one_robot_are_a_warning_with_both_names(graph, arm):
    arm.locate()
    node = Node('second_driver', start_parameter_services=False)
    graph.executor.add_node(node)
    second = node.create_publisher(JointState, 'robot_state', state_qos())
    graph.until(lambda: second.get_subscription_count() > 0)
    second.publish(graph.state())
    graph.until(lambda: arm.node.health.message('robot_state_source'))
    said = arm.node.health.message('robot_state_source')
    assert '/peer' in said
    assert '/second_driver' in said
    graph.set_time(graph.now + 2.0)
    second.publish(graph.state())
    graph.until(lambda: not arm.node.health.message('robot_state_source'))
    graph.executor.remove_node(node)
    node.destroy_node()


def test_who_was_refused_is_taken_once_the_other_left_the_graph(monkeypatch):
    """However long its plans hold: a node that was killed is listed for a while."""

    class Listed:
        def get_publishers_info_by_topic(self, _):
            return [b'old', b'new']

    names = {b'old': '/reasoner', b'new': '/next_reasoner'}
    monkeypatch.setattr(source, 'publisher_name', lambda _, __, who: names[who])
    plans = source.OneSource(Listed(), 'plan', 'plans')
    plans._publisher, plans._heard = b'old', 0.0
    assert '/next_reasoner while those of /reasoner' in plans.refuse(b'new', 0.1, np.inf)
    names[b'old'] = 'an unknown publisher'
    assert plans.refuse(b'new', 0.2, np.inf), 'the graph is not asked with every message'
    assert plans.refuse(b'new', 1.2, np.inf) is None
