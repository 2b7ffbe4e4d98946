# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures are right, and made only for those who look."""

import numpy as np
import pytest
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState
from visualization_msgs.msg import Marker
from visualization_msgs.msg import MarkerArray

from efficient_vla import msg
from efficient_vla.nodes import overlay
from efficient_vla.nodes.conversions import chunk_to_message
from efficient_vla.nodes.conversions import image_to_array
from efficient_vla.nodes.conversions import plan_to_message
from efficient_vla.nodes.conversions import tokens_to_message
from efficient_vla.nodes.monitor import MonitorNode
from efficient_vla.nodes.qos import image_qos
from efficient_vla.nodes.qos import latched_qos
from efficient_vla.nodes.qos import newest_qos
from efficient_vla.nodes.qos import state_qos
from efficient_vla.types import ActionChunk
from efficient_vla.types import ControlMode
from efficient_vla.types import Plan
from efficient_vla.types import VisualTokens


def tokens(stamp: float = 100.0) -> VisualTokens:
    """Return a grid of 2 x 2 of which the last token is reused."""
    number = np.arange(4, dtype=np.int32)
    return VisualTokens(
        features=np.ones((4, 3), np.float32),
        camera=number * 0,
        row=number // 2,
        column=number % 2,
        position=number + 10,
        age=np.array([0, 0, 0, 0.5], np.float32),
        grid=(2, 2),
        stamp=stamp,
    )


def chunk(mode: ControlMode = ControlMode.EE_DELTA, stamp: float = 100.0) -> ActionChunk:
    actions = np.tile(np.array([0.0, 0.01, 0.0, -1.0], np.float32), (5, 1))
    return ActionChunk(actions, 0.0125, ('x', 'y', 'z', 'gripper'), mode, stamp)


def test_overlay_dims_dropped_tokens_and_tints_reused_ones():
    image = np.full((20, 20, 3), 200, np.uint8)
    drawn = overlay.token_overlay(image, tokens(), np.array([10, 12, 13]), camera=0, dim=0.25)
    assert drawn.shape == image.shape
    assert (drawn[5, 5] == 200).all()
    assert (drawn[5, 15] == 50).all()
    assert drawn[15, 15, 2] > drawn[15, 15, 0]
    assert (image == 200).all()


def test_overlay_without_a_plan_counts_all_as_kept():
    image = np.full((20, 20, 3), 200, np.uint8)
    drawn = overlay.token_overlay(image, tokens(), None, camera=0, dim=0.25)
    assert (drawn[5, 15] == 200).all()


def test_path_of_displacements_adds_up():
    path = overlay.predicted_path(chunk(), np.array([0.0, 0.6, 0.2]))
    assert path.shape == (6, 3)
    assert path[-1] == pytest.approx([0.0, 0.65, 0.2])


def test_path_of_positions_is_the_positions():
    path = overlay.predicted_path(chunk(ControlMode.EE_POSITION), np.zeros(3))
    assert path[1:, 1] == pytest.approx([0.01] * 5)


def test_joint_chunk_has_no_path():
    assert len(overlay.predicted_path(chunk(ControlMode.JOINT_POSITION), np.zeros(3))) == 1


def test_nothing_is_subscribed_while_nobody_looks(graph):
    node = graph.add(MonitorNode)
    node.look()
    assert not node._picture_inputs
    assert not node._marker_inputs
    assert graph.peer.count_subscribers('camera/image_raw') == 0


def test_overlay_is_drawn_while_somebody_looks_and_not_after(graph):
    node = graph.add(MonitorNode)
    pictures = []
    watcher = graph.peer.create_subscription(Image, 'overlay', pictures.append, image_qos())
    graph.until(node._overlay.get_subscription_count)
    node.look()
    images = graph.publisher(Image, 'camera/image_raw', image_qos())
    visual = graph.publisher(msg.VisualTokens, 'visual_tokens', newest_qos())
    plans = graph.publisher(msg.Plan, 'plan', latched_qos())
    images.publish(graph.image(value=200))
    graph.until(lambda: node._images)
    visual.publish(tokens_to_message(tokens()))
    graph.until(lambda: node._tokens)
    plan = Plan(np.ones((1, 3), np.float32), 'go', 100.0, 2.0, kept=np.array([10], np.int32))
    plans.publish(plan_to_message(plan))
    graph.until(lambda: pictures)
    drawn = image_to_array(pictures[0])
    assert drawn[5, 5, 0] == 200
    assert drawn[5, 25, 0] < 100
    graph.peer.destroy_subscription(watcher)
    graph.until(lambda: node._overlay.get_subscription_count() == 0)
    node.look()
    assert not node._picture_inputs
    assert node.drawn == 1


def test_markers_show_path_and_words(graph):
    node = graph.add(MonitorNode)
    heard = graph.hear(MarkerArray, 'markers', newest_qos())
    graph.until(node._markers.get_subscription_count)
    node.look()
    states = graph.publisher(JointState, 'robot_state', state_qos())
    said = graph.publisher(msg.Instruction, 'instruction', latched_qos())
    chunks = graph.publisher(msg.ActionChunk, 'action_chunk', newest_qos())
    states.publish(graph.state((0.0, 0.6, 0.2)))
    said.publish(msg.Instruction(text='open the drawer'))
    graph.until(lambda: node._instruction and node._position.any())
    chunks.publish(chunk_to_message(chunk()))
    graph.until(lambda: heard)
    line, ball, text = heard[0].markers
    assert (line.type, len(line.points)) == (Marker.LINE_STRIP, 6)
    assert ball.pose.position.y == pytest.approx(0.65)
    assert text.text.startswith('open the drawer')
    assert line.header.frame_id == 'world'
    node.trigger_deactivate()
    graph.until(lambda: len(heard) == 2)
    assert heard[1].markers[0].action == Marker.DELETEALL


def test_broken_input_is_named_and_draws_nothing(graph):
    node = graph.add(MonitorNode)
    graph.hear(MarkerArray, 'markers', newest_qos())
    graph.until(node._markers.get_subscription_count)
    node.look()
    chunks = graph.publisher(msg.ActionChunk, 'action_chunk', newest_qos())
    broken = chunk_to_message(chunk())
    broken.horizon = 9
    chunks.publish(broken)
    graph.until(lambda: node.health.message('input'))
    assert node.drawn == 0
