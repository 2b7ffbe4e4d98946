# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Image and sentence go in, the robot moves: all nodes in one process."""

from types import SimpleNamespace

import numpy as np
from nodes.arm import Arm, Status
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Bool

from efficient_vla import msg
from efficient_vla.action import ExecuteTask
from efficient_vla.nodes.base.qos import image_qos, latched_qos, newest_qos, report_qos
from efficient_vla.nodes.stages.actor import ActorNode
from efficient_vla.nodes.stages.perception import PerceptionNode
from efficient_vla.nodes.stages.reasoner import ReasonerNode

IMAGE_PERIOD_S = 0.1
STEP_S = 0.02


class Whole:
    def __init__(self, graph, **actor):
        self.graph = graph
        self.perception = graph.add(PerceptionNode)
        self.reasoner = graph.add(ReasonerNode, plan_validity=0.6)
        self.actor = graph.add(ActorNode, **actor)
        self.arm = Arm(graph)
        self.stats = graph.hear(msg.EfficiencyStats, 'efficiency', report_qos())
        self.images = graph.publisher(Image, 'camera/image_raw', image_qos())
        for node in (self.perception, self.reasoner, self.actor, self.arm.node):
            graph.until(node._efficiency.get_subscription_count)
        self.due = graph.now

    def world(self):
        """Be the robot and its camera for one step of the clock."""
        self.arm.states.publish(self.graph.state(self.arm.position))
        if self.graph.now >= self.due:
            self.due = self.graph.now + IMAGE_PERIOD_S
            self.images.publish(self.graph.image(value=int(self.graph.now * 10) % 200))

    def run(self, seconds):
        end = self.graph.now + seconds
        while self.graph.now < end:
            self.graph.run(STEP_S, step=STEP_S, each=self.world)
            # Five hops from image to command, each of them a few events.
            self.graph.settle(events=12)

    def start(self):
        self.run(0.05)
        self.graph.until(lambda: self.arm.node._command is not None)
        client = ActionClient(self.graph.peer, ExecuteTask, 'execute_task')
        self.graph.until(client.server_is_ready)
        goal = client.send_goal_async(ExecuteTask.Goal(instruction='open the drawer'))
        self.graph.until(goal.done)
        self.graph.until(lambda: self.reasoner._instruction and self.actor._instruction)
        result = goal.result().get_result_async()
        result.client = client
        return result


def test_image_in_command_out(graph):
    whole = Whole(graph)
    result = whole.start()
    whole.run(1.0)
    assert whole.arm.state == Status.STATE_TRACKING
    # 5 cm/s from the first chunk on, which is there after some 0.2 s; the run-up takes its time.
    assert whole.arm.position[1] > 0.638
    assert {s.stage for s in whole.stats} == {1, 2, 3, 4}
    assert whole.arm.status[-1].underruns == 0
    whole.arm.success.publish(Bool(data=True))
    whole.run(0.4)
    graph.until(result.done)
    assert result.result().result.reason == ExecuteTask.Result.REASON_SUCCEEDED
    held = whole.arm.position.copy()
    whole.run(0.3)
    assert np.array_equal(whole.arm.position, held)


def test_single_architecture_drives_too(graph):
    whole = Whole(graph, architecture='single')
    whole.start()
    whole.run(0.6)
    assert whole.arm.position[1] > 0.618


def test_reasoner_that_dies_lets_the_robot_hold_and_goes_on_after_its_return(graph):
    whole = Whole(graph)
    whole.start()
    whole.run(0.3)
    whole.reasoner.trigger_deactivate()
    whole.run(1.4)
    assert whole.arm.state == Status.STATE_HOLDING
    assert 'valid for' in whole.actor.health.message('plan')
    assert whole.arm.node.at_rest
    whole.reasoner.trigger_activate()
    whole.run(0.4)
    assert whole.arm.state == Status.STATE_TRACKING
    assert not whole.actor.health.message('plan')


def test_camera_that_dies_lets_the_robot_hold(graph):
    whole = Whole(graph)
    whole.start()
    whole.run(0.3)
    whole.due = float('inf')
    whole.run(0.8)
    assert whole.arm.state == Status.STATE_HOLDING
    assert whole.arm.node.at_rest


CHANGES = [
    ('perception', {'cache.method': 'reuse', 'cache.max_age': 0.5}, ''),
    ('reasoner', {'pruning.method': 'uniform', 'pruning.keep': 0.25}, ''),
    ('reasoner', {'pruning.keep': 0.5, 'pruning.camera_weights': [1.0, 0.0]}, 'camera_weights'),
    ('reasoner', {'pruning.protect.projection': [float(n) for n in range(12)]}, ''),
    ('reasoner', {'pruning.protect.projection': [1.0] * 5}, '5 numbers'),
    ('perception', {'cache.threshold': 0.001}, 'cache.release 0.01 is above'),
    ('perception', {'cache.threshold': 0.2, 'cache.refresh_every': 3}, ''),
    ('reasoner', {'reuse.method': 'vla_cache', 'reuse.threshold': 0.1}, ''),
    ('reasoner', {'pruning.method': 'fastv', 'pruning.layer': 0}, 'pruning.layer is 0'),
    ('reasoner', {'pruning.gate.method': 'speed', 'pruning.gate.slow': 0.05}, ''),
    ('reasoner', {'pruning.method': 'none', 'reuse.method': 'none'}, ''),
]


def test_token_settings_change_while_the_robot_moves_and_no_plan_is_dropped(graph):
    whole = Whole(graph)
    tokens = graph.hear(msg.VisualTokens, 'visual_tokens', newest_qos())
    plans = graph.hear(msg.Plan, 'plan', latched_qos())
    graph.until(whole.reasoner._plan.get_subscription_count)
    graph.until(whole.perception._tokens.get_subscription_count)
    whole.start()
    whole.run(0.4)
    place = whole.arm.position[1]
    first = plans[-1].sequence
    for node, values, refused in CHANGES:
        items = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        service = f'{node}/set_parameters_atomically'
        result = graph.call(SetParametersAtomically, service, parameters=items).result
        assert result.successful == (not refused), result.reason
        assert refused in result.reason
        whole.run(0.1)
        assert whole.arm.state == Status.STATE_TRACKING
        assert whole.arm.position[1] > place
        place = whole.arm.position[1]
    stamps = [plan.header.stamp for plan in plans]
    assert stamps == [item.header.stamp for item in tokens[-len(stamps) :]]
    assert [plan.sequence for plan in plans] == list(range(1, len(plans) + 1))
    assert plans[-1].sequence >= first + len(CHANGES)
    assert {len(plan.kept) for plan in plans} == {4, 16}
    assert whole.reasoner._worker.dropped == whole.perception._worker.dropped == 0
    assert not whole.reasoner.health.message('pass')
    assert not whole.perception.health.message('pass')


def test_stamp_of_the_image_reaches_tokens_plan_chunk_and_status_to_the_nanosecond(graph):
    graph.set_time(1_795_939_563.0)
    whole = Whole(graph)
    heard = {
        topic: graph.hear(kind, topic, qos())
        for topic, kind, qos in (
            ('visual_tokens', msg.VisualTokens, newest_qos),
            ('plan', msg.Plan, latched_qos),
            ('action_chunk', msg.ActionChunk, newest_qos),
        )
    }
    for node in (whole.perception, whole.reasoner, whole.actor):
        graph.until(node._output.get_subscription_count)
    sent, publish = [], whole.images.publish

    def exactly(image):
        image.header.stamp.nanosec += 123_457 - image.header.stamp.nanosec % 1_000_000
        sent.append((image.header.stamp.sec, image.header.stamp.nanosec))
        publish(image)

    whole.images = SimpleNamespace(publish=exactly)
    whole.start()
    whole.run(0.6)
    for topic, messages in heard.items():
        stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in messages]
        assert len(stamps) > 2, topic
        assert set(stamps) <= set(sent), topic
    assert {(c.plan_stamp.sec, c.plan_stamp.nanosec) for c in heard['action_chunk']} <= set(sent)
    followed = {(s.observation_stamp.sec, s.observation_stamp.nanosec) for s in whole.arm.status}
    assert len(followed & set(sent)) > 2
    assert followed - set(sent) <= {(0, 0)}
    assert {(s.header.stamp.sec, s.header.stamp.nanosec) for s in whole.stats} <= set(sent)
