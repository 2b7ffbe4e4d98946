# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a node waits for and does not get is named, with publishers and remedy; nothing else is."""

import math
import re
import time

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fixtures.policies import write_policy
from nodes.arm import Arm
from nodes.test_reasoner_node import tokens
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState

from efficient_vla import msg
from efficient_vla.nodes.base import waiting
from efficient_vla.nodes.base.conversions import joint_state, plan_to_message, seconds_to_stamp
from efficient_vla.nodes.base.qos import image_qos, latched_qos, newest_qos, report_qos, state_qos
from efficient_vla.nodes.monitor.node import MonitorNode
from efficient_vla.nodes.stages.actor import ActorNode
from efficient_vla.nodes.stages.perception import PerceptionNode
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.types import Plan

CAMERA = 'no camera/image_raw'
STATE = 'no robot_state'
TASK = 'open the drawer'


class Clock:
    """The steady clock of the nodes, moved by the test, with or without that of the simulation."""

    def __init__(self, graph, monkeypatch):
        self.graph = graph
        self.steady = 1000.0
        monkeypatch.setattr(waiting, 'monotonic', lambda: self.steady)

    def passes(self, seconds, simulated=True):
        """Let time go on, and the nodes look as often as they do."""
        for _ in range(round(seconds / waiting.LOOK_PERIOD_S)):
            self.steady += waiting.LOOK_PERIOD_S
            if simulated:
                self.graph.set_time(self.graph.now + waiting.LOOK_PERIOD_S)
            for node in self.graph.nodes:
                node.look()


@pytest.fixture
def clock(graph, monkeypatch):
    return Clock(graph, monkeypatch)


def missed(node):
    """Return the inputs that the node misses."""
    return {rule for rule in node.health._rules if rule[:3] == 'no ' and node.health.message(rule)}


def publisher(graph, node, kind, topic, qos):
    """Return a publisher that ``node`` has discovered."""
    made = graph.peer.create_publisher(kind, topic, qos)
    graph.until(lambda: node.count_publishers(topic))
    return made


def instruct(graph, node, text=TASK):
    made = graph.publisher(msg.Instruction, 'instruction', latched_qos())
    made.publish(msg.Instruction(text=text))
    graph.until(lambda: node._instruction == text)
    return made


def test_camera_that_nobody_publishes_is_in_the_diagnostics_within_two_seconds(graph):
    heard = graph.hear(DiagnosticArray, '/diagnostics', report_qos())
    node = graph.add(PerceptionNode, start=False)
    graph.until(node._diagnostics.get_subscription_count)
    assert node.autostart()
    begin = time.monotonic()
    graph.until(lambda: any(CAMERA in m.status[0].message for m in heard))
    assert time.monotonic() - begin < 2.0
    status = heard[-1].status[0]
    assert status.level == DiagnosticStatus.ERROR
    assert re.search(
        r'/camera/image_raw \(sensor_msgs/msg/Image\) has 0 publishers in ROS domain \d+\. Start '
        'its publisher',
        status.message,
    )


def test_similar_topic_is_named_with_the_remapping_that_takes_it(graph, clock):
    node = graph.add(PerceptionNode)
    for topic in ('/cam/color/image_raw', '/lidar/intensity'):
        publisher(graph, node, Image, topic, image_qos())
    clock.passes(2.0)
    message = node.health.message(CAMERA)
    assert 'There are /cam/color/image_raw, /lidar/intensity.' in message
    assert 'Remap it: camera/image_raw:=/cam/color/image_raw' in message


def test_topic_that_the_node_itself_publishes_is_not_what_it_waits_for(graph, clock):
    arm = Arm(graph)
    graph.peer.destroy_publisher(arm.states)
    graph.until(lambda: not arm.node.count_publishers('robot_state'))
    clock.passes(2.0)
    message = arm.node.health.message(STATE)
    assert '0 publishers' in message
    assert '/command' not in message


def test_camera_that_is_only_compressed_is_named_with_its_remedy(graph, clock):
    node = graph.add(PerceptionNode)
    topic = '/camera/image_raw/compressed'
    publisher(graph, node, CompressedImage, topic, image_qos())
    clock.passes(2.0)
    assert f'compressed. Remap it: camera/image_raw:={topic}' in node.health.message(CAMERA)


def test_topic_of_another_type_is_named_with_both_types(graph, clock, ros_domain):
    node = graph.add(ReasonerNode)
    instruct(graph, node)
    # One process cannot use a topic with two types; another one can.
    context = rclpy.Context()
    context.init(domain_id=ros_domain)
    other = rclpy.create_node('other', context=context)
    other.create_publisher(Image, 'visual_tokens', newest_qos())
    named = node.get_publishers_info_by_topic
    graph.until(lambda: 'other' in [info.node_name for info in named('/visual_tokens')])
    clock.passes(2.0)
    other.destroy_node()
    context.shutdown()
    assert (
        'has 1 publisher (/other) of the type sensor_msgs/msg/Image; expected '
        'efficient_vla/msg/VisualTokens'
    ) in node.health.message('no visual_tokens')


def test_publisher_whose_quality_of_service_does_not_fit_is_named(graph, clock):
    node = graph.add(ReasonerNode)
    instruct(graph, node)
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher(graph, node, msg.VisualTokens, 'visual_tokens', best_effort)
    clock.passes(2.0)
    message = node.health.message('no visual_tokens')
    assert '1 publisher (/peer) whose quality of service does not fit: ' in message
    assert 'reliab' in message.lower()


@pytest.mark.parametrize('dead', ['left', 'right'])
def test_camera_that_is_missing_of_two_is_named_and_the_other_is_not(graph, clock, tmp_path, dead):
    folder = write_policy(tmp_path, cameras=('left', 'right'))
    node = graph.add(PerceptionNode, policy=str(folder))
    live = {'left': 'right', 'right': 'left'}[dead]
    images = publisher(graph, node, Image, f'{live}/image_raw', image_qos())
    for _ in range(4):
        images.publish(graph.image())
        graph.until(lambda: live in node._cameras._newest)
        node._cameras.clear()
        clock.passes(0.5)
    assert missed(node) == {f'no {dead}/image_raw'}


def test_camera_that_falls_silent_is_missed_and_then_recovers(graph, clock):
    node = graph.add(PerceptionNode)
    images = publisher(graph, node, Image, 'camera/image_raw', image_qos())
    expected = node._followed[0][1]

    def see():
        images.publish(graph.image())
        graph.until(lambda: expected._stamp == pytest.approx(graph.now))

    for _ in range(3):
        see()
        clock.passes(0.5)
        assert not missed(node)
    clock.passes(1.0)
    assert '1 publisher (/peer) and nothing came for' in node.health.message(CAMERA)
    see()
    clock.passes(0.25)
    assert not missed(node)


def test_robot_in_lockstep_that_waits_for_an_answer_is_not_missed(graph, clock):
    node = graph.add(PerceptionNode)
    images = publisher(graph, node, Image, 'camera/image_raw', image_qos())
    images.publish(graph.image())
    graph.until(lambda: node._cameras._newest)
    clock.passes(60.0, simulated=False)
    assert not missed(node)
    clock.passes(2.0)
    assert missed(node) == {CAMERA}


def test_stamp_that_never_rises_is_named(graph, clock):
    node = graph.add(PerceptionNode)
    images = publisher(graph, node, Image, 'camera/image_raw', image_qos())
    heard = node._followed[0][1]
    for number in range(8):
        images.publish(graph.image(stamp=3.5))
        graph.until(lambda n=number: heard._stuck or (n == 0 and heard._stamp == 3.5))
        heard._stuck = number == 7
        clock.passes(0.25)
    assert 'all its messages have the stamp 3.500 s' in node.health.message(CAMERA)


def test_input_that_is_slow_by_nature_is_not_missed_between_two_messages(graph, clock):
    node = graph.add(ReasonerNode)
    instruct(graph, node)
    visual = publisher(graph, node, msg.VisualTokens, 'visual_tokens', newest_qos())
    graph.until(visual.get_subscription_count)
    alarms = []
    for _ in range(4):
        visual.publish(tokens(graph.now))
        graph.until(lambda: node._newest and node._newest[0].stamp == pytest.approx(graph.now))
        for _ in range(8):
            clock.passes(0.25)
            alarms.append(missed(node) & {'no visual_tokens'})
    # The first wait teaches how slow it is.
    assert not any(alarms[8:])


def test_nothing_is_missed_while_inactive_or_without_a_task(graph, clock):
    idle = [graph.add(kind) for kind in (ReasonerNode, ActorNode, MonitorNode)]
    asleep = graph.add(PerceptionNode, start=False)
    clock.passes(5.0)
    assert not any(missed(node) for node in [*idle, asleep])


def test_a_picture_that_the_graph_draws_is_not_offered_as_a_camera(graph, clock):
    graph.add(MonitorNode)
    node = graph.add(PerceptionNode)
    graph.until(lambda: node.count_publishers('overlay'))
    clock.passes(2.0)
    assert 'overlay' not in node.health.message(CAMERA)
    assert 'Start its publisher' in node.health.message(CAMERA)


def test_actor_misses_each_of_its_inputs_while_there_is_a_task_and_no_longer(graph, clock):
    node = graph.add(ActorNode)
    said = instruct(graph, node)
    clock.passes(2.0)
    assert missed(node) == {CAMERA, STATE, 'no plan'}
    said.publish(msg.Instruction(text=''))
    graph.until(lambda: node._instruction == '')
    clock.passes(0.25)
    assert not missed(node)


def planned(graph, node, valid_for):
    """Give the actor a plan; return its publisher."""
    plans = graph.peer.create_publisher(msg.Plan, 'plan', latched_qos())
    plan = Plan(np.zeros((1, 3), np.float32), TASK, graph.now, valid_for, 1)
    plans.publish(plan_to_message(plan))
    graph.until(lambda: node._plan is not None)
    return plans


def test_dead_reasoner_is_named_by_an_actor_that_makes_a_chunk_a_plan(graph, clock):
    node = graph.add(ActorNode, architecture='single')
    instruct(graph, node)
    plans = planned(graph, node, 60.0)
    clock.passes(5.0)
    assert 'no plan' not in missed(node), 'it holds for a minute'
    graph.peer.destroy_publisher(plans)
    graph.until(lambda: not node.count_publishers('plan'))
    clock.passes(2.0)
    assert '/plan (efficient_vla/msg/Plan) has 0 publishers' in node.health.message('no plan')


def test_plan_that_ran_out_is_reported_where_nothing_comes_any_more(graph, clock):
    node = graph.add(ActorNode, architecture='single')
    instruct(graph, node)
    planned(graph, node, 2.0)
    clock.passes(3.0)
    assert 'it was valid for 2.0 s' in node.health.message('plan')


def test_reasoner_goes_on_without_the_robot_and_warns(graph, clock):
    node = graph.add(ReasonerNode)
    instruct(graph, node)
    publisher(graph, node, msg.VisualTokens, 'visual_tokens', newest_qos())
    clock.passes(2.0, simulated=False)
    assert missed(node) == {STATE}
    assert node.health.status('', {}).level == DiagnosticStatus.WARN


def test_controller_that_is_enabled_and_gets_no_chunk_says_so(graph, clock):
    arm = Arm(graph)
    arm.locate()
    clock.passes(2.0, simulated=False)
    assert not missed(arm.node), 'nobody has asked for motion'
    assert arm.enable().success
    graph.peer.destroy_publisher(arm.chunks)
    graph.until(lambda: not arm.node.count_publishers('action_chunk'))
    clock.passes(2.0, simulated=False)
    assert '/action_chunk (efficient_vla/msg/ActionChunk) has 0' in arm.node.health.message(
        'no action_chunk'
    )
    arm.enable(False)
    clock.passes(0.25, simulated=False)
    assert not missed(arm.node)


def test_monitor_misses_a_camera_only_for_somebody_who_looks(graph, clock):
    node = graph.add(MonitorNode)
    graph.hear(Image, 'overlay', image_qos())
    graph.until(node._overlay.get_subscription_count)
    clock.passes(2.5)
    assert missed(node) == {CAMERA}
    assert node.health.status('', {}).level == DiagnosticStatus.WARN


@pytest.mark.parametrize('kind', [ActorNode, ReasonerNode])
def test_partial_states_are_no_fault_while_complete_ones_come(graph, clock, kind):
    node = graph.add(kind)
    instruct(graph, node)
    states = publisher(graph, node, JointState, 'robot_state', state_qos())
    graph.until(states.get_subscription_count)
    for _ in range(8):
        finger = joint_state(('finger',), np.array([0.1]), graph.now)
        states.publish(finger)
        states.publish(graph.state())
        states.publish(finger)
        graph.until(lambda: len(node._states) and node._states.nearest(graph.now)[1] < 1e-6)
        graph.settle()
        clock.passes(0.25)
    assert STATE not in missed(node)
    assert not node.health.message('state')
    assert node.health.counts['state'] == 0
    for _ in range(8):
        states.publish(joint_state(('finger',), np.array([0.1]), graph.now))
        graph.settle()
        clock.passes(0.25)
    message = node.health.message(STATE)
    assert 'its messages lack what is needed: joint state has the names finger' in message


UNUSABLE = {
    'not finite': {'position': (0.0, 0.6, math.nan)},
    'in the future': {'position': (0.0, 0.6, 0.2), 'ahead': 3600.0},
}


@pytest.mark.parametrize('why', UNUSABLE)
@pytest.mark.parametrize('kind', [ActorNode, ReasonerNode])
def test_robot_whose_states_are_refused_is_not_taken_for_silent(graph, clock, kind, why):
    node = graph.add(kind)
    instruct(graph, node)
    states = publisher(graph, node, JointState, 'robot_state', state_qos())
    graph.until(states.get_subscription_count)
    for _ in range(8):
        stamp = graph.now + UNUSABLE[why].get('ahead', 0.0)
        states.publish(graph.state(UNUSABLE[why]['position'], stamp))
        graph.settle()
        clock.passes(0.25)
    assert why in node.health.message('state')
    said = node.health.message(STATE)
    assert why in said
    assert 'unplugged' not in said


def test_tokens_that_are_refused_are_not_taken_for_silence(graph, clock):
    node = graph.add(ReasonerNode)
    instruct(graph, node)
    sender = publisher(graph, node, msg.VisualTokens, 'visual_tokens', newest_qos())
    graph.until(sender.get_subscription_count)
    for _ in range(8):
        sender.publish(tokens(graph.now + 3600.0))
        graph.settle()
        clock.passes(0.25)
    assert 'in the future' in node.health.message('no visual_tokens')


def test_clock_that_jumps_back_makes_nothing_late(graph, clock):
    node = graph.add(PerceptionNode)
    images = publisher(graph, node, Image, 'camera/image_raw', image_qos())
    images.publish(graph.image())
    graph.until(lambda: node._cameras._newest)
    graph.set_time(50.0)
    message = graph.image()
    message.header.stamp = seconds_to_stamp(50.0)
    images.publish(message)
    graph.until(lambda: node.health.counts['clock_jumps'])
    clock.passes(1.0)
    assert not missed(node)
