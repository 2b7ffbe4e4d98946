# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keys and values of a plan go to an actor in another process as they were."""

from array import array
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState

from efficient_vla import msg
from efficient_vla.attention import PrefixCache
from efficient_vla.nodes.base.conversions import plan_to_message
from efficient_vla.nodes.base.qos import latched_qos, state_qos
from efficient_vla.nodes.stages import plan_cache
from efficient_vla.nodes.stages.actor import ActorNode
from efficient_vla.nodes.stages.cache_messages import cache_to_message, message_to_cache
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.passthrough import PassthroughActor
from efficient_vla.types import InvalidRecordError, Plan

TASK = 'open the drawer'


def cache(dtype=torch.float32, rows=(5, 5, 3), state=True, seed=0) -> PrefixCache:
    draw = torch.Generator().manual_seed(seed)
    keys, values = (
        tuple(torch.randn(1, 2, n, 4, generator=draw).to(dtype) for n in rows) for _ in range(2)
    )
    return PrefixCache(keys, values, 7, torch.tensor([[0.5, -1.0]]) if state else None)


def plan(made: PrefixCache | None, stamp: float = 100.0) -> Plan:
    return Plan(np.zeros((1, 3), np.float32), TASK, stamp, 2.0, cache=made)


def equal(one: PrefixCache, other: PrefixCache) -> bool:
    pairs = zip((*one.keys, *one.values), (*other.keys, *other.values), strict=True)
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('state', [True, False])
def test_a_cache_comes_back_as_it_was(dtype, state):
    made = cache(dtype, state=state)
    wire = serialize_message(cache_to_message(plan(made)))
    found = message_to_cache(deserialize_message(wire, msg.PlanCache))
    assert equal(found, made)
    assert [part.shape for part in found.keys] == [(1, 2, n, 4) for n in (5, 5, 3)]
    assert found.length == 7
    assert found.renewed is None
    assert (found.state is None) == (not state)
    if state:
        assert torch.equal(found.state, made.state)


DAMAGE = {
    'number format': ('number_format', 'int8'),
    'layers': ('rows', array('I')),
    'rows': ('rows', array('I', [5, 0, 3])),
    'bytes': ('rows', array('I', [5, 5, 4])),
    '0 heads': ('heads', 0),
    'position': ('length', 4),
    'NaN': ('state', array('f', [float('nan'), 0.0])),
}


@pytest.mark.parametrize('word', DAMAGE)
def test_a_damaged_message_is_refused(word):
    message = cache_to_message(plan(cache()))
    name, value = DAMAGE[word]
    setattr(message, name, value)
    with pytest.raises(InvalidRecordError, match=word):
        message_to_cache(message)


def test_infinite_keys_are_refused():
    made = cache()
    made.values[1][0, 1, 2, 3] = torch.inf
    with pytest.raises(InvalidRecordError, match='infinite'):
        message_to_cache(cache_to_message(plan(made)))


def test_an_actor_alone_asks_for_the_cache_and_waits_for_it(graph, monkeypatch):
    taken = []

    def noting(self, given, frame, inner=PassthroughActor.chunk):
        taken.append(given.cache)
        return inner(self, given, frame)

    monkeypatch.setattr(PassthroughActor, 'chunk', noting)
    monkeypatch.setattr(
        PassthroughActor, 'generator', SimpleNamespace(takes_sent_cache=True), raising=False
    )
    node = graph.add(ActorNode, architecture='single')
    plans = graph.publisher(msg.Plan, 'plan', latched_qos())
    states = graph.publisher(JointState, 'robot_state', state_qos())
    instructions = graph.publisher(msg.Instruction, 'instruction', latched_qos())
    instructions.publish(msg.Instruction(text=TASK))
    states.publish(graph.state())
    graph.settle()
    plans.publish(plan_to_message(plan(None)))
    caches = graph.publisher(msg.PlanCache, plan_cache.TOPIC, latched_qos())
    graph.settle()
    assert not taken

    def send(stamp: float, made: PrefixCache, first: str) -> None:
        graph.set_time(stamp)
        states.publish(graph.state())
        graph.settle()
        sends = {
            'plan': lambda: plans.publish(plan_to_message(plan(None, stamp))),
            'cache': lambda: caches.publish(cache_to_message(plan(made, stamp))),
        }
        count = len(taken)
        for name in sorted(sends, key=lambda name: name != first):
            assert len(taken) == count
            sends[name]()
            graph.settle()
        graph.until(lambda: len(taken) == count + 1)
        assert equal(taken[-1], made)

    send(100.5, cache(seed=1), 'plan')
    send(101.0, cache(seed=2), 'cache')
    assert plan_cache.joined('/plan', plan(None, 101.0)).cache is not None
    node.end()
    assert plan_cache.joined('/plan', plan(None, 101.0)).cache is None
    assert not graph.peer.count_subscribers(plan_cache.TOPIC)


@pytest.mark.parametrize(
    ('listeners', 'made', 'count'),
    [(0, cache(), 0), (1, SimpleNamespace(travels=False), 0), (1, None, 0), (1, cache(), 1)],
)
def test_a_reasoner_sends_caches_only_where_somebody_asks(graph, listeners, made, count):
    reasoner, sent = graph.add(ReasonerNode), []
    reasoner._cache = SimpleNamespace(get_subscription_count=lambda: listeners, publish=sent.append)
    reasoner.send_cache(plan(made))
    assert len(sent) == count


def test_keys_and_values_of_another_node_than_that_of_the_plans_are_refused(graph, monkeypatch):
    monkeypatch.setattr(
        PassthroughActor, 'generator', SimpleNamespace(takes_sent_cache=True), raising=False
    )
    node = graph.add(ActorNode, architecture='single')
    plans = graph.publisher(msg.Plan, 'plan', latched_qos())
    plans.publish(plan_to_message(plan(None, graph.now)))
    graph.until(lambda: node._caches is not None)
    stranger = Node('stranger', start_parameter_services=False)
    graph.executor.add_node(stranger)
    caches = stranger.create_publisher(msg.PlanCache, plan_cache.TOPIC, latched_qos())
    caches.publish(cache_to_message(plan(cache(seed=1), graph.now)))
    rule = 'plan_cache_source'
    graph.until(lambda: node.health.message(rule))
    assert 'came from /stranger; expected those of /peer' in node.health.message(rule)
    assert node._plan is None
    assert plan_cache.joined('/plan', plan(None, graph.now)).cache is None
    own = graph.publisher(msg.PlanCache, plan_cache.TOPIC, latched_qos())
    own.publish(cache_to_message(plan(cache(seed=2), graph.now)))
    graph.until(lambda: node._plan is not None)
    assert not node.health.message(rule)
    graph.executor.remove_node(stranger)
    stranger.destroy_node()
