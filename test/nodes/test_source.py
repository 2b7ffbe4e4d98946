# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One publisher drives the robot; another one does so only after it, and never unnoticed."""

import pytest
from nodes.arm import Arm, Status
from rclpy.node import Node
from sensor_msgs.msg import JointState

from efficient_vla import msg
from efficient_vla.nodes.base.qos import newest_qos, state_qos


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


def test_a_new_actor_is_taken_once_the_old_one_is_gone(graph, arm, other):
    arm.moving()
    graph.peer.destroy_publisher(arm.chunks)
    graph.until(lambda: graph.peer.count_publishers('action_chunk') == 1)
    graph.until(lambda: len(arm.node.get_publishers_info_by_topic('action_chunk')) == 1)
    send(arm, other)
    assert arm.status[-1].chunk_sequence == arm.sequence
    assert arm.state == Status.STATE_TRACKING


def test_a_new_actor_is_taken_once_the_chunks_of_a_silent_one_ran_out(arm, other):
    arm.moving()
    arm.run(0.6)
    assert arm.state == Status.STATE_HOLDING
    send(arm, other, sequence=1)
    assert arm.state == Status.STATE_TRACKING


def test_enabling_anew_takes_whoever_comes_first(arm, other):
    arm.moving()
    arm.send_chunk()
    assert arm.enable(False).success
    arm.run(0.25)
    assert arm.enable().success
    arm.run(0.01)
    send(arm, other)
    assert arm.state == Status.STATE_TRACKING


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
