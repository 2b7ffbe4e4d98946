# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans follow the newest tokens and the present instruction, and nothing else."""

import dataclasses
import math
import threading

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fixtures.policies import write_policy
from nodes.planning import Setup, tokens
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from efficient_vla import msg
from efficient_vla.nodes.base.conversions import (
    seconds_to_stamp,
    tokens_to_message,
)
from efficient_vla.nodes.base.qos import latched_qos, newest_qos, report_qos, state_qos
from efficient_vla.nodes.stages.perception import PerceptionNode
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.nodes.stages.stage import SIGNALS_WANTED
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.policy import default_policy, load_perception
from efficient_vla.reasoning.settings import PRUNING_METHODS, REUSE_METHODS
from efficient_vla.settings import build
from efficient_vla.types import Frame, InvalidRecordError, Plan


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


def test_stage_forgets_the_task_before_where_one_begins(graph, setup, monkeypatch):
    resets = []
    monkeypatch.setattr(setup.node.stage, 'reset', resets.append)
    setup.instruct('open the drawer')
    setup.plan(100.0)
    setup.instruct('close the drawer')
    graph.until(lambda: setup.node._instruction == 'close the drawer')
    setup.plan(100.1)
    assert resets == ['a task began'], 'a change of mind under way is none'
    setup.instruct('')
    graph.until(lambda: not setup.node._instruction)
    setup.instruct('close the drawer')
    graph.until(lambda: setup.node._instruction)
    setup.plan(100.2)
    assert resets == ['a task began'] * 2


def test_same_sentence_given_again_is_another_task(graph, setup, hold):
    setup.instruct('open the drawer')
    setup.plan(99.5)
    held = hold(setup.node.stage, 'plan')
    setup.tokens.publish(tokens(99.9))
    graph.until(held.begun.is_set)
    setup.instruct('')
    graph.until(lambda: not setup.node._instruction)
    again = msg.Instruction(text='open the drawer')
    again.header.stamp = seconds_to_stamp(graph.now)
    setup.instructions.publish(again)
    graph.until(lambda: setup.node._instruction)
    held.go.set()
    graph.until(lambda: setup.node.health.counts['superseded_plans'] == 1)
    assert len(setup.plans) == 1


def test_instruction_of_a_clock_that_is_ahead_is_planned_for(graph, setup):
    message = msg.Instruction(text='open the drawer')
    message.header.stamp = seconds_to_stamp(1.8e9)
    setup.instructions.publish(message)
    graph.until(lambda: setup.node._instruction)
    graph.set_time(100.2)
    setup.plan(100.2)


def test_tokens_that_come_again_make_up_for_a_pass_that_failed(graph, setup, monkeypatch):
    plan, failed = setup.node.stage.plan, []

    def fail_once(*arguments):
        if not failed:
            failed.append(True)
            raise RuntimeError('once')
        return plan(*arguments)

    monkeypatch.setattr(setup.node.stage, 'plan', fail_once)
    setup.instruct('open the drawer')
    graph.until(lambda: setup.node._instruction)
    setup.tokens.publish(tokens(100.0))
    graph.until(lambda: setup.node.health.message('pass'))
    setup.plan(100.0)


def give_task_after_tokens(graph, setup):
    """Give a task at 100.0 s, when the newest tokens are of 99.9 s."""
    setup.tokens.publish(tokens(99.9))
    graph.until(lambda: setup.node._newest)
    message = msg.Instruction(text='open the drawer')
    message.header.stamp = seconds_to_stamp(100.0)
    setup.instructions.publish(message)
    graph.until(lambda: setup.node._instruction)


def test_new_task_waits_for_a_frame_that_was_captured_after_it(graph, setup):
    give_task_after_tokens(graph, setup)
    setup.plan(100.1)
    assert len(setup.plans) == 1


def test_new_task_goes_on_with_old_tokens_where_nothing_fresh_comes(graph, setup):
    give_task_after_tokens(graph, setup)
    graph.set_time(100.6)
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
    assert stats[0].method == 'pruning=uniform keep=0.5'


def pass_of(graph, setup, made=None, monkeypatch=None):
    """Return the statistics of one pass, whose plan is ``made`` where one is given."""
    if made is not None:
        monkeypatch.setattr(setup.node.stage, 'plan', lambda visual, text: made)
    stats = graph.hear(msg.EfficiencyStats, 'efficiency', newest_qos())
    graph.until(setup.node._efficiency.get_subscription_count)
    setup.instruct('open the drawer')
    setup.plan(99.0)
    graph.until(lambda: stats)
    return stats[0]


def reusing_plan() -> Plan:
    return Plan(
        latents=np.ones((1, 3), np.float32),
        instruction='open the drawer',
        stamp=99.0,
        valid_for=2.0,
        kept=np.array([0, 1, 3], np.int32),
        tokens_total=4,
        reused=np.array([1, 3], np.int32),
        reused_age=np.array([0.25, 0.5], np.float32),
        protected=np.array([3], np.int32),
        reason='fastv kept 3 of 4, 1 protected',
        saved_ms=6.5,
    )


def test_statistics_tell_what_was_reused_how_old_it_is_and_why(graph, setup, monkeypatch):
    stats = pass_of(graph, setup, reusing_plan(), monkeypatch)
    assert (stats.tokens_total, stats.tokens_kept, stats.tokens_reused) == (4, 3, 2)
    assert (stats.hit_rate, stats.oldest_age_s, stats.saved_ms) == (0.5, 0.5, 6.5)
    assert stats.reason == 'fastv kept 3 of 4, 1 protected'
    assert stats.refresh_reason == ''
    plan = setup.plans[-1]
    assert list(plan.reused) == [1, 3]
    assert list(plan.reused_age) == [0.25, 0.5]
    assert list(plan.protected_tokens) == [3]
    assert plan.reason == stats.reason


def test_refresh_reason_tells_why_keys_and_values_were_not_reused(graph, monkeypatch):
    setup = Setup(graph, reuse__method='vla_cache')
    made = dataclasses.replace(
        reusing_plan(),
        reused=np.zeros(0, np.int32),
        reused_age=np.zeros(0, np.float32),
        reason='all computed: instruction changed',
    )
    stats = pass_of(graph, setup, made, monkeypatch)
    assert stats.refresh_reason == 'all computed: instruction changed'
    assert (stats.hit_rate, stats.oldest_age_s) == (0.0, 0.0)
    assert stats.method == 'reuse=vla_cache threshold=0.4'


def test_diagnostics_name_method_tokens_ages_and_reasons(graph, setup, monkeypatch):
    assert 'tokens_kept' not in setup.node.report()
    pass_of(graph, setup, reusing_plan(), monkeypatch)
    heard = graph.hear(DiagnosticArray, '/diagnostics', report_qos())
    graph.until(setup.node._diagnostics.get_subscription_count)
    setup.node.publish_diagnostics()
    graph.until(lambda: heard)
    values = {item.key: item.value for item in heard[-1].status[0].values}
    expected = {
        'method': '',
        'tokens_kept': '3',
        'tokens_reused': '2',
        'tokens_dropped': '1',
        'hit_rate': '0.5',
        'oldest_age_s': '0.5',
        'refresh_reason': '',
        'reason': 'fastv kept 3 of 4, 1 protected',
        'saved_ms': '6.5',
    }
    assert {name: values[name] for name in expected} == expected


def watch_motion(graph, setup, monkeypatch):
    """Return the list of states that the stage was told, and their publisher."""
    seen = []
    monkeypatch.setattr(
        setup.node.stage, 'observe', lambda state, stamp: seen.append((state, stamp))
    )
    return seen, graph.publisher(JointState, 'robot_state', state_qos())


def test_stage_is_told_how_the_robot_moved_before_it_plans(graph, setup, monkeypatch):
    seen, states = watch_motion(graph, setup, monkeypatch)
    for step in range(3):
        states.publish(graph.state((0.1 * step, 0.6, 0.2), stamp=98.9 + step * 0.05))
        graph.until(lambda n=step: len(setup.node._states) > n)
    # Between plans nothing is told: the stage belongs to the worker thread.
    assert seen == []
    setup.instruct('open the drawer')
    setup.plan(99.0)
    assert [stamp for _, stamp in seen] == pytest.approx([98.9, 98.95, 99.0])
    state = seen[1][0]
    assert (state.dtype, state.shape) == (np.float32, (4,))
    assert state == pytest.approx([0.1, 0.6, 0.2, 1.0])
    assert not setup.node._states


def joints(name, position, stamp=99.0):
    message = JointState(name=name, position=position)
    message.header.stamp = seconds_to_stamp(stamp)
    return message


@pytest.mark.parametrize(
    ('message', 'words'),
    [
        (joints(['x', 'y', 'z', 'gripper'], [0.0, 1.0]), '2 positions for 4 names'),
        (joints(['x', 'y', 'z', 'gripper'], [0.0, math.nan, 0.0, 1.0]), 'not finite for y'),
        (joints(['x', 'y', 'z', 'gripper'], [0.0] * 4, stamp=104.0), 'in the future'),
    ],
)
def test_bad_robot_states_are_refused_and_plans_go_on(graph, setup, monkeypatch, message, words):
    seen, states = watch_motion(graph, setup, monkeypatch)
    states.publish(message)
    graph.until(lambda: setup.node.health.message('state'))
    assert words in setup.node.health.message('state')
    setup.instruct('open the drawer')
    setup.plan(99.0)
    assert seen == []
    states.publish(graph.state(stamp=99.1))
    graph.until(lambda: not setup.node.health.message('state'))


def test_state_that_the_stage_refuses_is_named_and_the_next_one_recovers(graph, setup, monkeypatch):
    seen, states = watch_motion(graph, setup, monkeypatch)

    def picky(state, stamp):
        if state[0] > 5:
            raise InvalidRecordError('hand is 9 m away')
        seen.append(stamp)

    monkeypatch.setattr(setup.node.stage, 'observe', picky)
    for number, (x, stamp) in enumerate(((9.0, 98.9), (0.0, 98.95))):
        states.publish(graph.state((x, 0.6, 0.2), stamp=stamp))
        graph.until(lambda n=number: len(setup.node._states) > n)
    setup.instruct('open the drawer')
    setup.plan(99.0)
    assert seen == pytest.approx([98.95])
    assert setup.node.health.message('motion') == 'hand is 9 m away'
    setup.plan(99.2)
    assert not setup.node.health.message('motion')


def test_clock_that_jumps_back_forgets_how_the_robot_moved(graph, setup, monkeypatch):
    seen, states = watch_motion(graph, setup, monkeypatch)
    states.publish(graph.state(stamp=99.0))
    graph.until(lambda: setup.node._states)
    setup.instruct('open the drawer')
    graph.until(lambda: setup.node._instruction)
    graph.set_time(50.0)
    setup.plan(49.9)
    assert seen == []


def test_policy_that_does_not_look_at_the_robot_subscribes_to_no_state(graph, tmp_path):
    folder = write_policy(tmp_path, state_names=())
    node = graph.add(ReasonerNode, policy=str(folder))
    assert graph.peer.count_subscribers('robot_state') == 0
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert not node._followed


@pytest.fixture(scope='module')
def nano_tokens():
    """Return what perception makes of one image for the shipped policy."""
    stage = load_perception(default_policy(), build(PerceptionSettings, {'signals': True}))
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    return stage.encode(Frame({stage.cameras[0]: image}, np.zeros(0, np.float32), 99.0))


def test_every_method_is_taken_or_refused_with_a_reason_and_plans_go_on(graph, nano_tokens):
    setup = Setup(graph, policy=str(default_policy()), max_rate=1000.0)
    setup.instruct('open the drawer')
    taken, plans = [], 0
    for reuse in REUSE_METHODS:
        for method in PRUNING_METHODS:
            result = setup.node.set_parameters_atomically(
                [
                    Parameter('pruning.method', value=method),
                    Parameter('reuse.method', value=reuse),
                ]
            )
            assert result.successful or method in result.reason
            if result.successful:
                taken.append(method)
            made = dataclasses.replace(nano_tokens, stamp=99.0 + plans * 0.001)
            setup.tokens.publish(tokens_to_message(made))
            plans += 1
            graph.until(lambda n=plans: len(setup.plans) == n or setup.node.health.message('pass'))
            assert not setup.node.health.message('pass'), (method, reuse)
            plan = setup.plans[-1]
            assert plan.tokens_total == len(nano_tokens.position)
            if result.successful and method != 'none':
                assert 0 < len(plan.kept) <= plan.tokens_total // 2, method
    assert {'none', 'fastv', 'uniform', 'random'} <= set(taken)


def test_what_pruning_needs_of_perception_is_asked_when_it_is_set(graph, nano_tokens):
    setup = Setup(graph, policy=str(default_policy()))
    perception = graph.add(PerceptionNode, policy=str(default_policy()), signals=True)

    def choose(node, name, value):
        return node.set_parameters([Parameter(name, value=value)])[0]

    result = choose(setup.node, 'pruning.method', 'sp_vla')
    assert not result.successful
    assert 'Set perception.signals to true first' in result.reason
    setup.tokens.publish(tokens_to_message(nano_tokens))
    graph.until(lambda: setup.node._newest)
    assert choose(setup.node, 'pruning.method', 'sp_vla').successful
    graph.until(lambda: perception.count_subscribers(SIGNALS_WANTED))
    result = choose(perception, 'signals', False)
    assert not result.successful
    assert 'signals is false; expected true' in result.reason
    assert perception.settings.signals
    assert choose(setup.node, 'pruning.method', 'none').successful
    graph.until(lambda: not perception.count_subscribers(SIGNALS_WANTED))
    assert choose(perception, 'signals', False).successful


def test_preset_that_needs_signals_holds_from_the_start_and_is_freed_with_the_policy(graph):
    perception = graph.add(PerceptionNode, policy=str(default_policy()), signals=True)
    node = graph.add(ReasonerNode, policy=str(default_policy()), pruning__method='sp_vla')
    graph.until(lambda: perception.count_subscribers(SIGNALS_WANTED))
    node.end()
    graph.until(lambda: not perception.count_subscribers(SIGNALS_WANTED))


def test_failure_is_reported_once_the_same_tokens_may_come_again(graph, setup, monkeypatch):
    due, error = [], setup.node.health.error
    monkeypatch.setattr(setup.node.stage, 'plan', lambda *_: 1 / 0)

    def reported(rule, text):
        if text:
            due.append((rule, setup.node._pace._due))
        return error(rule, text)

    monkeypatch.setattr(setup.node.health, 'error', reported)
    setup.instruct('open the drawer')
    graph.until(lambda: setup.node._instruction)
    setup.tokens.publish(tokens(100.0))
    graph.until(lambda: due)
    assert due == [('pass', -math.inf)]


def test_plan_goes_out_once_all_that_is_known_of_its_pass_holds(graph, setup, monkeypatch):
    node, seen = setup.node, []
    publish = node._plan.publish

    def published(message):
        seen.append((node.health.message('pass'), node._latency.count, node._last.stamp))
        publish(message)

    monkeypatch.setattr(node._plan, 'publish', published)
    setup.instruct('open the drawer')
    graph.until(lambda: node._instruction)
    node.health.error('pass', 'the one before failed')
    setup.plan(99.0)
    assert seen == [('', 1, 99.0)]


def test_plan_and_statistics_tell_the_same_latency(graph, setup):
    stats = pass_of(graph, setup)
    assert stats.latency_ms == setup.plans[-1].latency_ms > 0


def test_tokens_that_were_overtaken_make_no_plan(graph, setup):
    setup.instruct('open the drawer')
    setup.plan(99.0)
    setup.tokens.publish(tokens(98.5))
    heard = setup.node._expected
    graph.until(lambda: heard._stamp == 98.5)
    assert setup.node._newest[0].stamp == 99.0
    setup.plan(99.5)
    assert [setup.stamp(n) for n in range(len(setup.plans))] == [99.0, 99.5]


def test_state_that_comes_after_the_plan_that_saw_its_successors_is_left_out(
    graph, setup, monkeypatch
):
    seen, states = watch_motion(graph, setup, monkeypatch)
    setup.instruct('open the drawer')
    for number, stamp in enumerate((98.9, 98.8, 99.1)):
        states.publish(graph.state(stamp=stamp))
        graph.until(lambda: len(setup.node._states))
        setup.plan(99.0 + 0.2 * number)
    assert [stamp for _, stamp in seen] == pytest.approx([98.9, 99.1])


def test_inactive_reasoner_has_no_timer_for_a_task_that_waits(graph, setup):
    timers = len(list(setup.node.timers))
    setup.node.trigger_deactivate()
    assert len(list(setup.node.timers)) == timers - 1
    setup.node.trigger_activate()
    assert len(list(setup.node.timers)) == timers
