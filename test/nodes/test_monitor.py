# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures are right, and made only for those who look."""

import dataclasses
import math
from array import array

import numpy as np
import pytest
from sensor_msgs.msg import Image, JointState
from visualization_msgs.msg import Marker, MarkerArray

from efficient_vla import msg
from efficient_vla.nodes.base.conversions import (
    chunk_to_message,
    image_to_array,
    plan_to_message,
    seconds_to_stamp,
    tokens_to_message,
)
from efficient_vla.nodes.base.qos import image_qos, latched_qos, newest_qos, report_qos, state_qos
from efficient_vla.nodes.monitor.node import MonitorNode, overlay
from efficient_vla.types import ActionChunk, ControlMode, Plan, VisualTokens

IDS = ('kept', 'reused', 'protected')


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


def plan(**fields) -> Plan:
    lists = {name: np.array(value, np.int32) for name, value in fields.items() if name in IDS}
    return Plan(np.ones((1, 3), np.float32), 'go', 100.0, 2.0, **{**fields, **lists})


def drawn(made: Plan, dim: float = 0.25) -> np.ndarray:
    """Return the overlay over a grey image whose tokens are 40 pixels wide."""
    image = np.full((80, 80, 3), 200, np.uint8)
    picture = overlay.token_overlay(image, tokens(), overlay.spent(tokens(), made), 0, dim)
    assert picture.shape == image.shape
    assert (image == 200).all()
    return picture


def test_overlay_dims_dropped_tokens_and_tints_reused_ones():
    picture = drawn(plan(kept=[10, 12, 13]))
    assert (picture[20, 20] == 200).all()
    assert (picture[20, 60] == 50).all()
    assert picture[60, 60, 2] > picture[60, 60, 0]


@pytest.mark.parametrize(('kept', 'shade'), [([10], 200), ([14], 200), ([11, 12, 13], 50)])
def test_of_two_tokens_at_one_place_the_one_that_was_kept_shows(kept, shade):
    """The image as a whole follows its tiles."""
    whole = np.array([14], np.int32)
    fields = ('camera', 'row', 'column')
    both = dataclasses.replace(
        tokens(),
        features=np.ones((5, 3), np.float32),
        age=np.zeros(5, np.float32),
        position=np.append(tokens().position, whole),
        **{name: np.append(getattr(tokens(), name), whole * 0) for name in fields},
    )
    image = np.full((80, 80, 3), 200, np.uint8)
    marks = overlay.spent(both, plan(kept=kept))
    assert (overlay.token_overlay(image, both, marks, 0, 0.25)[20, 20] == shade).all()


def test_overlay_without_kept_tokens_counts_all_as_kept():
    assert (drawn(plan())[20, 60] == 200).all()


def test_overlay_is_bluer_the_older_the_keys_and_values_of_a_token_are():
    ages = np.array([0.0, 0.4, 0.9], np.float32)
    picture = drawn(plan(kept=[10, 11, 12, 13], reused=[10, 11, 12], reused_age=ages))
    # Little red is left where there is much blue; token 13 was reused by perception, 0.5 s old.
    red = [int(picture[row, column, 0]) for row, column in ((20, 20), (20, 60), (60, 60), (60, 20))]
    assert 200 > red[0] > red[1] > red[2] > red[3]


def test_age_of_a_token_is_that_of_its_oldest_part():
    made = overlay.spent(tokens(), plan(reused=[12, 13], reused_age=np.float32([0.1, 0.2])))
    assert made.age == pytest.approx([0, 0, 0.1, 0.5])
    assert list(made.reused) == [False, False, True, True]


def test_reused_tokens_that_the_frame_lacks_are_left_out():
    made = overlay.spent(tokens(), plan(reused=[4, 11, 99], reused_age=np.float32([1, 2, 3])))
    assert made.age == pytest.approx([0, 2, 0, 0.5])


def test_protected_tokens_are_outlined_once_around_all_of_them():
    picture = drawn(plan(kept=[10, 11, 12], protected=[10, 11]))
    outline = (picture == overlay.PROTECTED_COLOUR).all(2)
    assert outline[0, :].all()
    assert outline[39, :].all()
    assert outline[20, [0, 79]].all()
    # No line between the two, none inside, and none around the third.
    assert not outline[20, 2:78].any()
    assert not outline[40:].any()


def test_summary_says_what_was_spent_saved_and_why():
    made = plan(
        kept=[10, 11, 12],
        reused=[11, 12],
        reused_age=np.float32([0.2, 0.4]),
        protected=[12],
        tokens_total=4,
        saved_ms=6.4,
        reason='fastv kept 3 of 4',
    )
    marks = overlay.spent(tokens(), made)
    assert overlay.summary(marks, made, 41.0) == (
        'kept 3/4  reused 3 (oldest 0.5 s)  protected 1  saved vision 41 ms, plan 6 ms  '
        'fastv kept 3 of 4'
    )


def test_summary_leaves_out_what_is_not_known():
    made = plan(kept=[10, 11])
    fresh = dataclasses.replace(tokens(), age=np.zeros(4, np.float32))
    assert overlay.summary(overlay.spent(fresh, made), made) == 'kept 2/4  reused 0'


def test_text_wraps_and_stays_inside_the_strip():
    words = 'fastv kept 72 of 144 after layer 2, 9 protected ' * 3
    narrow, wide = overlay.text_strip(words, 480), overlay.text_strip(words, 1500)
    assert len(narrow) > len(wide)
    for strip in (narrow, wide):
        assert strip[:, overlay.MARGIN : -overlay.MARGIN].any()
        assert not strip[:, -2:].any()


def test_lines_end_between_parts_and_inside_of_long_ones_only():
    text = 'kept 72/144  saved vision 14 ms, plan 265 ms  fastv kept 72 of 144 after layer 2'
    assert overlay.wrapped(text, 10_000) == [text]
    assert overlay.wrapped(text, 360) == [
        'kept 72/144  saved vision 14 ms, plan 265 ms',
        'fastv kept 72 of 144 after layer 2',
    ]
    assert ' '.join(overlay.wrapped(text, 100)).split() == text.split()
    assert len(overlay.wrapped(text, 100)) > 4


def test_picture_of_two_cameras_of_different_sizes_is_side_by_side():
    number = np.arange(8, dtype=np.int32)
    both = VisualTokens(
        features=np.ones((8, 3), np.float32),
        camera=number // 4,
        row=number % 4 // 2,
        column=number % 2,
        position=number,
        age=np.zeros(8, np.float32),
        grid=(2, 2),
        stamp=100.0,
    )
    images = [np.full((60, 60, 3), 200, np.uint8), np.full((900, 1200, 3), 100, np.uint8)]
    picture = overlay.token_picture(images, both, plan(kept=[0, 1, 2, 3, 7]), 0.25, math.nan)
    rows = overlay.PICTURE_ROWS
    assert picture.shape[1] == rows + 4 + rows * 4 // 3
    assert picture.shape[0] > rows
    assert (picture[rows // 4, rows // 4] == 200).all()
    assert (picture[rows // 4, rows + 100] == 25).all()
    assert (picture[rows * 3 // 4, -100] == 100).all()


def test_path_of_displacements_adds_up():
    path = overlay.predicted_path(chunk(), np.array([0.0, 0.6, 0.2]))
    assert path.shape == (6, 3)
    assert path[-1] == pytest.approx([0.0, 0.65, 0.2])


def test_path_of_positions_is_the_positions():
    path = overlay.predicted_path(chunk(ControlMode.EE_POSITION), np.zeros(3))
    assert path[1:, 1] == pytest.approx([0.01] * 5)


def test_columns_of_a_path_are_found_by_their_names():
    actions = np.tile(np.array([[-1.0, 0.01]], np.float32), (3, 1))
    made = ActionChunk(actions, 0.0125, ('gripper', 'y'), ControlMode.EE_DELTA, 1.0)
    path = overlay.predicted_path(made, np.array([0.0, 0.6, 0.2]))
    np.testing.assert_allclose(path[-1], [0.0, 0.63, 0.2], atol=1e-7)


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
    graph.until(lambda: node._images[0])
    visual.publish(tokens_to_message(tokens()))
    graph.until(lambda: node._tokens)
    plans.publish(plan_to_message(plan(kept=[10])))
    graph.until(lambda: pictures)
    picture = image_to_array(pictures[0])
    assert picture[100, 100, 0] == 200
    assert picture[100, 400, 0] < 100
    graph.peer.destroy_subscription(watcher)
    graph.until(lambda: node._overlay.get_subscription_count() == 0)
    node.look()
    assert not node._picture_inputs
    assert node.drawn == 1


def two_cameras(graph, **values):
    """Return a monitor at work, the pictures it draws, and who publishes what it needs."""
    node = graph.add(MonitorNode, **values)
    pictures = graph.hear(Image, 'overlay', image_qos())
    graph.until(node._overlay.get_subscription_count)
    node.look()
    visual = graph.publisher(msg.VisualTokens, 'visual_tokens', newest_qos())
    plans = graph.publisher(msg.Plan, 'plan', latched_qos())
    message = tokens_to_message(tokens())
    message.camera = array('i', [0, 0, 1, 1])
    visual.publish(message)
    graph.until(lambda: node._tokens)
    return node, pictures, plans


def test_tokens_of_two_cameras_are_drawn_with_the_images_they_were_made_of(graph):
    node, pictures, plans = two_cameras(graph, cameras=['left', 'right'])
    left = graph.publisher(Image, 'left/image_raw', image_qos())
    right = graph.publisher(Image, 'right/image_raw', image_qos())
    for number, (publisher, value, stamp) in enumerate(
        [(right, 10, 99.9), (left, 200, 100.0), (right, 80, 100.04), (right, 30, 100.1)]
    ):
        publisher.publish(graph.image(value, stamp))
        graph.until(lambda n=number: sum(map(len, node._images.values())) > n)
    plans.publish(plan_to_message(plan(kept=[10, 12])))
    graph.until(lambda: pictures)
    picture = image_to_array(pictures[0])
    rows = overlay.PICTURE_ROWS
    assert picture[100, 100, 0] == 200
    assert picture[rows * 3 // 4, rows + 104, 0] == 80


def test_more_cameras_than_the_monitor_knows_are_named(graph):
    node, pictures, plans = two_cameras(graph)
    plans.publish(plan_to_message(plan(kept=[10])))
    graph.until(lambda: node.health.message('input'))
    assert 'tokens come from 2 cameras' in node.health.message('input')
    assert not pictures


def test_vision_time_that_was_saved_is_drawn_too(graph):
    node, _, _ = two_cameras(graph)
    stats = graph.publisher(msg.EfficiencyStats, 'efficiency', report_qos())
    for stage, saved in (
        (msg.EfficiencyStats.STAGE_REASONER, 1.0),
        (msg.EfficiencyStats.STAGE_PERCEPTION, 41.0),
    ):
        message = msg.EfficiencyStats(stage=stage, saved_ms=saved)
        message.header.stamp = seconds_to_stamp(100.0)
        stats.publish(message)
    graph.until(lambda: node._saved)
    assert list(node._saved.values()) == [41.0]


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


def test_markers_show_subgoal_and_reasoning(graph):
    node = graph.add(MonitorNode)
    heard = graph.hear(MarkerArray, 'markers', newest_qos())
    graph.until(node._markers.get_subscription_count)
    node.look()
    plans = graph.publisher(msg.Plan, 'plan', latched_qos())
    chunks = graph.publisher(msg.ActionChunk, 'action_chunk', newest_qos())
    goal = np.array([0.1, 0.6, 0.2], np.float32)
    said = plan(text='press the button; move up', subtask='press it', subgoal=goal)
    plans.publish(plan_to_message(said))
    graph.until(lambda: node._plan is not None)
    chunks.publish(chunk_to_message(chunk()))
    graph.until(lambda: heard)
    markers = {marker.id: marker for marker in heard[0].markers}
    place = markers[3].pose.position
    np.testing.assert_allclose([place.x, place.y, place.z], goal, rtol=1e-6)
    assert 'press it\npress the button; move up' in markers[2].text


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


def test_status_of_an_unknown_state_is_refused_and_drawing_goes_on(graph):
    node = graph.add(MonitorNode)
    drawn = graph.hear(MarkerArray, 'markers', newest_qos())
    graph.until(node._markers.get_subscription_count)
    node.look()
    status = graph.publisher(msg.ControllerStatus, 'controller_status', latched_qos())
    chunks = graph.publisher(msg.ActionChunk, 'action_chunk', newest_qos())
    status.publish(msg.ControllerStatus(state=99))
    graph.until(lambda: node.health.message('input'))
    said = node.health.message('input')
    assert 'state 99; expected one of 0, 1, 2, 3, 4, 5, 6, 7' in said
    chunks.publish(chunk_to_message(chunk()))
    graph.until(lambda: drawn)
    status.publish(msg.ControllerStatus(state=msg.ControllerStatus.STATE_HOLDING))
    graph.until(lambda: node._status.state == msg.ControllerStatus.STATE_HOLDING)
    chunks.publish(chunk_to_message(chunk(stamp=100.1)))
    graph.until(lambda: any('holding' in m.text for a in drawn for m in a.markers))
