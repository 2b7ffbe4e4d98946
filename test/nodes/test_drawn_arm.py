# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A robot of joints among the markers: an arm of two limbs of 1 m that turns about z."""

import math

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from visualization_msgs.msg import Marker, MarkerArray

from efficient_vla import msg
from efficient_vla.bringup.settings import DrawnArmSettings
from efficient_vla.nodes.base.conversions import chunk_to_message
from efficient_vla.nodes.base.qos import newest_qos, state_qos
from efficient_vla.nodes.monitor.arm import MOST_POINTS, DrawnArm
from efficient_vla.nodes.monitor.node import MonitorNode
from efficient_vla.types import ActionChunk, ControlMode

JOINT = """
<joint name="{name}" type="revolute"><parent link="{parent}"/><child link="{child}"/>
<origin xyz="{x} 0 0"/><axis xyz="0 0 1"/>
<limit lower="-4" upper="4" velocity="1" effort="1"/></joint>
"""
TWO_LIMBS = (
    '<robot name="two"><link name="base_link"/><link name="upper"/><link name="lower"/>'
    '<link name="tip"/>'
    + JOINT.format(name='shoulder', parent='base_link', child='upper', x=0)
    + JOINT.format(name='elbow', parent='upper', child='lower', x=1)
    + '<joint name="end" type="fixed"><parent link="lower"/><child link="tip"/>'
    '<origin xyz="1 0 0"/></joint></robot>'
)
# The policy's columns are in another order than the limbs, and one has a name of its own.
SETTINGS = DrawnArmSettings(
    description=TWO_LIMBS,
    names=('elbow', 'pan', 'gripper'),
    joint_names=('pan:=shoulder',),
    base='base_link',
)


def chunk(rows: list[list[float]], names: tuple[str, ...], mode: ControlMode) -> ActionChunk:
    return ActionChunk(np.array(rows, np.float32), 0.1, names, mode, 100.0)


def states(**positions: float) -> JointState:
    return JointState(name=list(positions), position=list(positions.values()))


def test_joints_come_by_the_names_of_the_driver_or_of_the_columns_in_any_order():
    arm = DrawnArm(SETTINGS)
    arm.take(states(finger=0.1, shoulder=0.5))
    assert arm.joints is None
    arm.take(states(elbow=0.25))
    assert arm.joints == pytest.approx([0.25, 0.5])
    arm.take(states(pan=0.75))
    assert arm.joints == pytest.approx([0.25, 0.75])


def test_limbs_go_from_the_base_over_the_joints_to_the_tool():
    limbs = DrawnArm(SETTINGS).limbs(np.array([-math.pi / 2, math.pi / 2]))
    assert limbs == pytest.approx(np.array([[0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 1, 0]]), abs=1e-9)


def test_positions_of_joints_lead_the_tool():
    rows = [[0.0, math.pi / 2, 1.0], [math.pi / 2, math.pi / 2, 1.0]]
    made = chunk(rows, SETTINGS.names, ControlMode.JOINT_POSITION)
    path = DrawnArm(SETTINGS).path(made, np.zeros(2))
    assert path == pytest.approx(np.array([[2, 0, 0], [0, 2, 0], [-1, 1, 0]]), abs=1e-6)


def test_displacements_of_joints_add_up_from_where_the_arm_is():
    quarter = math.pi / 4
    made = chunk([[0.0, quarter]] * 2, ('elbow', 'pan'), ControlMode.JOINT_DELTA)
    path = DrawnArm(SETTINGS).path(made, np.array([0.0, -math.pi / 2]))
    half = math.sqrt(2)
    assert path == pytest.approx(np.array([[0, -2, 0], [half, -half, 0], [2, 0, 0]]), abs=1e-6)


def test_rows_of_the_end_effector_begin_at_the_tool():
    made = chunk([[0.0, 0.1, 0.0]] * 2, ('x', 'y', 'z'), ControlMode.EE_DELTA)
    path = DrawnArm(SETTINGS).path(made, np.zeros(2))
    assert path == pytest.approx(np.array([[2, 0, 0], [2, 0.1, 0], [2, 0.2, 0]]), abs=1e-6)


def test_of_a_long_chunk_points_from_the_first_to_the_last_row_are_shown():
    rows = np.linspace([0, 0], [0, math.pi], 500).tolist()
    made = chunk(rows, ('elbow', 'pan'), ControlMode.JOINT_POSITION)
    path = DrawnArm(SETTINGS).path(made, np.zeros(2))
    assert len(path) == MOST_POINTS + 1
    assert path[-1] == pytest.approx([-2, 0, 0], abs=1e-6)


PARAMETERS = {
    'arm__description': TWO_LIMBS,
    'arm__names': ['shoulder', 'elbow'],
    'arm__base': 'base_link',
}


def drawing(graph, **values):
    node = graph.add(MonitorNode, **(PARAMETERS | values))
    heard = graph.hear(MarkerArray, 'markers', newest_qos())
    graph.until(node._markers.get_subscription_count)
    node.look()
    return node, heard


def test_markers_show_the_arm_and_the_way_of_its_tool(graph):
    _, heard = drawing(graph)
    joints = graph.publisher(JointState, 'robot_state', state_qos())
    joints.publish(states(elbow=0.0, shoulder=0.0))
    graph.until(lambda: heard)
    limbs = heard[0].markers[0]
    assert limbs.header.frame_id == 'base_link'
    assert [place.x for place in limbs.points] == pytest.approx([0, 0, 1, 2])
    chunks = graph.publisher(msg.ActionChunk, 'action_chunk', newest_qos())
    made = chunk([[0.0, math.pi / 2]] * 3, ('elbow', 'shoulder'), ControlMode.JOINT_POSITION)
    chunks.publish(chunk_to_message(made))
    graph.until(lambda: len(heard) > 1)
    line = next(m for m in heard[1].markers if m.type == Marker.LINE_STRIP)
    assert line.header.frame_id == 'base_link'
    assert (line.points[-1].x, line.points[-1].y) == pytest.approx((0.0, 2.0), abs=1e-6)
    numbers = {m.id for message in heard for m in message.markers}
    assert len(numbers) == len(heard[0].markers) + len(heard[1].markers)


def test_arm_is_drawn_ten_times_a_second_whatever_its_states_come_at(graph):
    _, heard = drawing(graph)
    joints = graph.publisher(JointState, 'robot_state', state_qos())
    graph.run(0.5, each=lambda: joints.publish(states(elbow=0.0, shoulder=graph.now)))
    graph.settle()
    assert 3 <= len(heard) <= 6


def test_description_that_does_not_fit_is_named_and_costs_only_the_drawing(graph):
    node, _ = drawing(graph, arm__names=['slide'])
    assert 'slide' in node.health.message('arm')
    assert node._arm is None
