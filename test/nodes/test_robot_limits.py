# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A controller takes the limits of the description that robot_state_publisher offers."""

import pytest
from control.arms import names_of, urdf_of
from rclpy.parameter import Parameter
from std_msgs.msg import String

from efficient_vla.control.robot_limits import urdf
from efficient_vla.nodes.base.qos import latched_qos
from efficient_vla.nodes.controller import description
from efficient_vla.nodes.controller.node import ControllerNode

VALUES = {
    'names': names_of('fr3'),
    'robot_description_topic': '/robot_description',
    'limits__max_jerk': [5000.0],
}


@pytest.fixture
def controller(graph):
    return lambda **more: graph.add(ControllerNode, start=False, **VALUES, **more)


def test_the_description_on_the_topic_gives_the_limits(graph, controller):
    publisher = graph.peer.create_publisher(String, '/robot_description', latched_qos())
    publisher.publish(String(data=urdf_of('fr3')))
    node = controller(limits__max_acceleration=[10.0], limits__position_low=[-1.0])
    assert node.autostart()
    # As parameters and in the loop; what was set before stays.
    assert list(node.get_parameter('limits.max_velocity').value)[4:] == [5.26, 4.18, 5.26]
    assert [axis.high for axis in node._controller.limits][:2] == [2.7437, 1.7837]
    assert {axis.low for axis in node._controller.limits} == {-1.0}
    assert {axis.jerk for axis in node._controller.limits} == {5000.0}
    # What somebody set since stays through the next configure.
    limit = node.get_parameter('limits.max_velocity').value
    changed = Parameter('limits.max_velocity', value=[0.5] * len(limit))
    assert node.set_parameters([changed])[0].successful
    node.end()
    assert node.autostart()
    assert {axis.velocity for axis in node._controller.limits} == {0.5}


def test_a_description_that_says_too_little_is_refused_by_name(graph, controller):
    publisher = graph.peer.create_publisher(String, '/robot_description', latched_qos())
    publisher.publish(String(data=urdf_of('fr3')))
    node = controller()
    assert not node.autostart()
    assert "'fr3_joint1' has no max_acceleration" in node.health.status('', {}).message


def test_a_description_that_is_too_long_is_refused_by_its_topic(graph, controller, monkeypatch):
    monkeypatch.setattr(urdf, 'LARGEST', 100)
    publisher = graph.peer.create_publisher(String, '/robot_description', latched_qos())
    publisher.publish(String(data=urdf_of('fr3')))
    node = controller(limits__max_acceleration=[10.0])
    assert not node.autostart()
    assert 'the description on /robot_description has' in node.health.status('', {}).message


def test_without_a_description_the_controller_is_not_configured(controller, monkeypatch):
    monkeypatch.setattr(description, 'PATIENCE_S', 0.05)
    node = controller(limits__max_acceleration=[10.0])
    assert not node.autostart()
    assert 'no description came on /robot_description' in node.health.status('', {}).message
