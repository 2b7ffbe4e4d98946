# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the window of RViz shows comes from the graph: topic, type, quality of service."""

from pathlib import Path

import pytest
import yaml
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from efficient_vla.nodes.controller.node import ControllerNode
from efficient_vla.nodes.monitor.node import MonitorNode
from efficient_vla.nodes.robot.node import SimulatedRobotNode

VIEW = Path(__file__).resolve().parents[2] / 'rviz' / 'efficient_vla.rviz'
TYPES = {'MarkerArray': 'visualization_msgs/msg/MarkerArray', 'Image': 'sensor_msgs/msg/Image'}
OF_OTHERS = {'RobotModel'}
"""Displays of what robot_state_publisher sends."""


def displays():
    """Return class -> what the view subscribes, for every display of the graph's topics."""
    shown = yaml.safe_load(VIEW.read_text())['Visualization Manager']['Displays']
    kinds = [(one['Class'].partition('/')[2], one) for one in shown]
    return [(kind, one['Topic']) for kind, one in kinds if kind not in OF_OTHERS and 'Topic' in one]


def test_view_shows_camera_tokens_path_and_dry_run():
    topics = [topic['Value'] for _, topic in displays()]
    assert sorted(topics) == ['camera/image_raw', 'dry_run/markers', 'markers', 'overlay']


@pytest.mark.parametrize(('kind', 'topic'), displays(), ids=lambda value: str(value)[:20])
def test_every_display_is_fed_by_the_graph(graph, kind, topic):
    graph.add(MonitorNode)
    graph.add(ControllerNode, dry_run=True)
    graph.add(SimulatedRobotNode, start=False)
    found = graph.peer.get_publishers_info_by_topic
    graph.until(lambda: found(topic['Value']))
    wanted = QoSProfile(
        depth=topic['Depth'],
        reliability=ReliabilityPolicy[topic['Reliability Policy'].upper().replace(' ', '_')],
        durability=DurabilityPolicy[topic['Durability Policy'].upper().replace(' ', '_')],
    )
    for publisher in found(topic['Value']):
        assert publisher.topic_type == TYPES[kind]
        assert qos_check_compatible(publisher.qos_profile, wanted)[0] != QoSCompatibility.ERROR
