# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A plan of keys and values finds its cache inside one process, and paces what follows it."""

from dataclasses import replace

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from efficient_vla import msg
from efficient_vla.nodes.base.conversions import (
    message_to_plan,
    plan_to_message,
    tokens_to_message,
)
from efficient_vla.nodes.base.qos import latched_qos, newest_qos, state_qos
from efficient_vla.nodes.stages import plan_cache
from efficient_vla.nodes.stages.actor import ActorNode
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.passthrough import PassthroughActor, PassthroughReasoner
from efficient_vla.types import Plan, Stamp, VisualTokens, grid_map

TASK = 'open the drawer'


def plan(stamp: float, cache: object = None, task: str = TASK) -> Plan:
    return Plan(np.zeros((1, 3), np.float32), task, stamp, 2.0, cache=cache)


@pytest.fixture
def topic():
    yield '/plan'
    plan_cache.forget('/plan')


def test_a_plan_that_went_through_a_message_gets_its_own_cache(topic):
    first, second = object(), object()
    stamp = Stamp(1795985156405996217)
    plan_cache.keep(topic, plan(stamp, first))
    plan_cache.keep(topic, plan(stamp, second, 'close it'))
    sent = message_to_plan(plan_to_message(plan(stamp)))
    assert plan_cache.joined(topic, sent).cache is first
    assert plan_cache.joined('/left/plan', sent).cache is None
    assert plan_cache.joined(topic, plan(Stamp(stamp.nanoseconds + 1))).cache is None


def test_only_the_newest_caches_are_kept_and_plans_without_one_take_no_place(topic):
    for second in range(plan_cache.KEPT + 1):
        plan_cache.keep(topic, plan(float(second), object()))
        plan_cache.keep(topic, plan(second + 0.5))
    found = [plan_cache.joined(topic, plan(float(s))).cache for s in range(plan_cache.KEPT + 1)]
    assert found[0] is None
    assert all(found[1:])
    plan_cache.forget(topic)
    assert plan_cache.joined(topic, plan(1.0)).cache is None


def test_reasoner_and_actor_of_one_process_share_the_cache_and_others_do_not(graph, monkeypatch):
    made, taken = [], []

    def with_cache(self, tokens, instruction, inner=PassthroughReasoner.plan):
        made.append(object())
        return replace(inner(self, tokens, instruction), cache=made[-1])

    def noting(self, given, frame, inner=PassthroughActor.chunk):
        taken.append(given.cache)
        return inner(self, given, frame)

    monkeypatch.setattr(PassthroughReasoner, 'plan', with_cache)
    monkeypatch.setattr(PassthroughActor, 'chunk', noting)
    graph.add(ReasonerNode)
    graph.add(ActorNode, architecture='single')
    states = graph.publisher(JointState, 'robot_state', state_qos())
    tokens = graph.publisher(msg.VisualTokens, 'visual_tokens', newest_qos())
    instructions = graph.publisher(msg.Instruction, 'instruction', latched_qos())
    states.publish(graph.state())
    instructions.publish(msg.Instruction(text=TASK))
    graph.settle()
    tokens.publish(
        tokens_to_message(
            VisualTokens(
                np.zeros((4, 3), np.float32),
                **grid_map(4, (2, 2)),
                age=np.zeros(4, np.float32),
                grid=(2, 2),
                stamp=graph.now,
            )
        )
    )
    graph.until(lambda: taken)
    assert taken == made


class Paced:
    """An actor that makes chunks of the newest state at 10 Hz, without an image."""

    def __init__(self, graph, monkeypatch):
        monkeypatch.setattr(
            PassthroughActor,
            'needs_image',
            property(lambda self: False, lambda *_: None),
            raising=False,
        )
        self.graph = graph
        self.node = graph.add(ActorNode, architecture='dual', rate=10.0)
        self.chunks = graph.hear(msg.ActionChunk, 'action_chunk', newest_qos())
        self.states = graph.publisher(JointState, 'robot_state', state_qos())
        self.plans = graph.publisher(msg.Plan, 'plan', latched_qos())
        self.instructions = graph.publisher(msg.Instruction, 'instruction', latched_qos())
        graph.until(self.node._chunk.get_subscription_count)
        self.instructions.publish(msg.Instruction(text=TASK))
        graph.until(lambda: self.node._instruction == TASK)

    def send_state(self):
        items = self.node._states._items
        newest = items[-1] if items else None
        self.states.publish(self.graph.state())
        self.graph.until(lambda: items and items[-1] is not newest)
        self.graph.settle()

    def send_plan(self, sequence=1):
        earlier = self.node._plan
        message = plan_to_message(plan(self.graph.now))
        message.sequence = sequence
        self.plans.publish(message)
        self.graph.until(lambda: self.node._plan is not earlier)
        self.graph.settle()


def test_without_an_image_the_newest_state_makes_a_chunk_at_the_rate(graph, monkeypatch):
    paced = Paced(graph, monkeypatch)
    paced.send_state()
    assert not paced.chunks
    paced.send_plan()
    for index in range(1, 11):
        graph.set_time(100.0 + index / 30)
        paced.send_state()
    graph.until(lambda: len(paced.chunks) >= 4)
    stamps = [chunk.header.stamp.sec + chunk.header.stamp.nanosec / 1e9 for chunk in paced.chunks]
    np.testing.assert_allclose(stamps, [100.0, 100.1, 100.2, 100.3], atol=0.034)
    assert {chunk.plan_sequence for chunk in paced.chunks} == {1}


def test_a_new_plan_makes_a_chunk_at_once_of_the_newest_state(graph, monkeypatch):
    paced = Paced(graph, monkeypatch)
    paced.send_state()
    paced.send_plan(1)
    graph.set_time(100.02)
    paced.send_plan(2)
    graph.until(lambda: len(paced.chunks) == 2)
    assert [chunk.plan_sequence for chunk in paced.chunks] == [1, 2]
