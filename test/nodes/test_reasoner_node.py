# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans follow the newest tokens and the present instruction, and nothing else."""

import threading

import numpy as np
import pytest

from efficient_vla import msg
from efficient_vla.nodes.conversions import seconds_to_stamp
from efficient_vla.nodes.conversions import stamp_to_seconds
from efficient_vla.nodes.conversions import tokens_to_message
from efficient_vla.nodes.qos import latched_qos
from efficient_vla.nodes.qos import newest_qos
from efficient_vla.nodes.reasoner import ReasonerNode
from efficient_vla.types import InvalidRecordError
from efficient_vla.types import VisualTokens


def tokens(stamp: float, count: int = 4):
    number = np.arange(count, dtype=np.int32)
    return tokens_to_message(
        VisualTokens(
            features=np.ones((count, 3), np.float32),
            camera=number * 0,
            row=number // 2,
            column=number % 2,
            position=number,
            age=np.zeros(count, np.float32),
            grid=(2, 2),
            stamp=stamp,
        )
    )


class Setup:
    def __init__(self, graph, **values):
        self.graph = graph
        self.node = graph.add(ReasonerNode, **values)
        self.plans = graph.hear(msg.Plan, 'plan', latched_qos())
        self.tokens = graph.publisher(msg.VisualTokens, 'visual_tokens', newest_qos())
        self.instructions = graph.publisher(msg.Instruction, 'instruction', latched_qos())
        graph.until(self.node._plan.get_subscription_count)

    def instruct(self, text):
        self.instructions.publish(msg.Instruction(text=text))

    def plan(self, stamp):
        """Send tokens and wait for the plan about them."""
        self.tokens.publish(tokens(stamp))
        self.graph.until(lambda: self.plans and self.stamp(-1) == pytest.approx(stamp))

    def stamp(self, index):
        return stamp_to_seconds(self.plans[index].header.stamp)


@pytest.fixture
def setup(graph):
    return Setup(graph)


def test_no_instruction_means_no_plan(graph, setup):
    setup.tokens.publish(tokens(99.0))
    graph.until(lambda: setup.node._newest)
    setup.instruct('open the drawer')
    graph.until(lambda: setup.plans)
    # The first plan is the one that the instruction caused, about tokens that were there before.
    assert [p.instruction for p in setup.plans] == ['open the drawer']
    assert setup.stamp(0) == 99.0


def test_new_task_waits_for_a_frame_that_was_captured_after_it(graph, setup):
    setup.tokens.publish(tokens(99.9))
    graph.until(lambda: setup.node._newest)
    message = msg.Instruction(text='open the drawer')
    message.header.stamp = seconds_to_stamp(100.0)
    setup.instructions.publish(message)
    graph.until(lambda: setup.node._instruction)
    setup.plan(100.1)
    assert len(setup.plans) == 1


def test_new_task_goes_on_with_old_tokens_where_nothing_fresh_comes(graph, setup):
    setup.tokens.publish(tokens(99.9))
    graph.until(lambda: setup.node._newest)
    message = msg.Instruction(text='open the drawer')
    message.header.stamp = seconds_to_stamp(100.0)
    setup.instructions.publish(message)
    graph.until(lambda: setup.node._instruction)
    graph.set_time(100.6)
    setup.node.publish_diagnostics()
    graph.until(lambda: setup.plans)
    assert setup.stamp(0) == pytest.approx(99.9)


def test_every_tokens_message_makes_a_plan(graph, setup):
    setup.instruct('open the drawer')
    for index in range(3):
        setup.plan(99.0 + index * 0.2)
    assert [p.sequence for p in setup.plans] == [1, 2, 3]
    assert setup.plans[-1].valid_for.sec == 2


def test_max_rate_leaves_tokens_out(graph):
    setup = Setup(graph, max_rate=1.0)
    setup.instruct('open the drawer')
    setup.plan(99.0)
    for stamp in (99.1, 99.2, 99.3):
        setup.tokens.publish(tokens(stamp))
        graph.until(lambda s=stamp: setup.node._newest[0].stamp == pytest.approx(s))
    setup.plan(100.0)
    assert len(setup.plans) == 2


def test_instruction_change_plans_at_once_and_drops_the_plan_under_way(graph, setup, monkeypatch):
    gate, started = threading.Event(), threading.Event()
    plan = setup.node.stage.plan

    def slow(visual, text):
        if text == 'open the drawer':
            started.set()
            assert gate.wait(10.0)
        return plan(visual, text)

    monkeypatch.setattr(setup.node.stage, 'plan', slow)
    setup.instruct('open the drawer')
    graph.until(lambda: setup.node._instruction)
    setup.tokens.publish(tokens(99.0))
    graph.until(started.is_set)
    setup.instruct('close the window')
    graph.until(lambda: setup.node._instruction == 'close the window')
    gate.set()
    graph.until(lambda: setup.plans)
    assert [p.instruction for p in setup.plans] == ['close the window']
    assert setup.node.health.counts['superseded_plans'] == 1


@pytest.mark.parametrize('text', ['x' * 10_000, 'открой ящик', '  '])
def test_bad_instruction_ends_the_old_task_and_says_why(graph, setup, text):
    setup.instruct('open the drawer')
    setup.plan(99.0)
    setup.instruct(text)
    graph.until(lambda: setup.node.health.message('instruction'))
    assert 'rejected' in setup.node.health.message('instruction')
    setup.tokens.publish(tokens(99.5))
    graph.until(lambda: setup.node._newest[0].stamp == 99.5)
    setup.instruct('close the window')
    graph.until(lambda: len(setup.plans) == 2)
    assert setup.plans[1].instruction == 'close the window'
    assert not setup.node.health.message('instruction')


def test_empty_instruction_ends_planning_without_a_complaint(graph, setup):
    setup.instruct('open the drawer')
    setup.plan(99.0)
    setup.instruct('')
    graph.until(lambda: not setup.node._instruction)
    assert not setup.node.health.message('instruction')


def test_policy_that_refuses_the_instruction_is_heard(graph, setup, monkeypatch):
    def refuse(visual, text):
        raise InvalidRecordError('unknown instruction language: de')

    monkeypatch.setattr(setup.node.stage, 'plan', refuse)
    setup.instruct('schublade auf')
    setup.tokens.publish(tokens(99.0))
    graph.until(lambda: setup.node.health.message('pass'))
    assert setup.node.health.message('pass') == 'unknown instruction language: de'


def test_late_joiner_gets_the_plan(graph, setup):
    setup.instruct('open the drawer')
    setup.plan(99.0)
    late = []
    graph.peer.create_subscription(msg.Plan, 'plan', late.append, latched_qos())
    graph.until(lambda: late)
    assert late[0].sequence == 1


def test_late_reasoner_gets_the_instruction(graph):
    publisher = graph.peer.create_publisher(msg.Instruction, 'instruction', latched_qos())
    publisher.publish(msg.Instruction(text='open the drawer'))
    node = graph.add(ReasonerNode)
    graph.until(lambda: node._instruction == 'open the drawer')


def test_tokens_of_wrong_size_or_of_the_future_are_refused(graph, setup):
    setup.instruct('open the drawer')
    broken = tokens(99.0)
    broken.width = 5
    setup.tokens.publish(broken)
    graph.until(lambda: 'visual tokens has' in setup.node.health.message('tokens'))
    setup.tokens.publish(tokens(graph.now + 3))
    graph.until(lambda: 'in the future' in setup.node.health.message('tokens'))
    setup.plan(99.5)
    assert len(setup.plans) == 1


def test_clock_that_jumps_back_forgets_tokens(graph, setup):
    setup.instruct('open the drawer')
    setup.plan(99.0)
    graph.set_time(50.0)
    setup.plan(49.9)
    assert setup.node.health.counts['clock_jumps'] == 1


def test_pruning_is_named_in_the_statistics(graph):
    setup = Setup(graph, pruning__method='uniform', pruning__keep=0.5)
    stats = graph.hear(msg.EfficiencyStats, 'efficiency', newest_qos())
    graph.until(setup.node._efficiency.get_subscription_count)
    setup.instruct('open the drawer')
    setup.plan(99.0)
    graph.until(lambda: stats)
    assert (stats[0].tokens_total, stats[0].tokens_kept) == (4, 2)
    assert stats[0].method == 'pruning=uniform keep=0.5 layer=2'
