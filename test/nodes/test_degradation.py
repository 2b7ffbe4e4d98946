# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A graph that is too slow or short of memory is lowered step by step, holds, and climbs back."""

import math

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from nodes.arm import Arm, Status
from nodes.test_whole_graph import Whole
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from efficient_vla import msg
from efficient_vla.bringup.ladder import HOLD, LadderRules, Rule, Step
from efficient_vla.control.state import State
from efficient_vla.nodes.base.conversions import seconds_to_duration, seconds_to_stamp
from efficient_vla.nodes.monitor.degradation import Degradation
from efficient_vla.nodes.monitor.measures import Measures
from efficient_vla.nodes.monitor.node import MonitorNode
from efficient_vla.nodes.stages.actor import ActorNode
from efficient_vla.nodes.stages.reasoner import ReasonerNode
from efficient_vla.nodes.stages.stage import EXIT_HUNG, device_fault

STEPS = {
    'plans': Step('reasoner', ('max_rate',), 0.5, 0.5),
    'tokens': Step('reasoner', ('pruning.keep',), 0.5, 0.1, unless=('pruning.method', 'none')),
    'passes': Step('actor', ('flow.steps', 'diffusion.steps'), 0.5, 1),
}
SLOW = Rule('slow', 'chunk_share', 0.8, 0.5, 2.0, 3.0, ('plans', 'tokens', 'passes'))
SCARCE = Rule('scarce', 'memory_free', 0.05, 0.1, 1.0, 2.0, (HOLD,))


def chunk(now, age, lasts=0.5, steps=10):
    message = msg.ActionChunk(horizon=10, dt=seconds_to_duration(lasts / 10), steps=steps)
    message.header.stamp = seconds_to_stamp(now - age)
    message.plan_stamp = seconds_to_stamp(now - 2 * age)
    message.plan_valid_for = seconds_to_duration(2.0)
    return message


class Watched:
    """A monitor with a ladder whose clock and measures the test sets."""

    def __init__(self, graph, *rules, act=True):
        self.graph = graph
        self.time = 0.0
        self.node = graph.add(MonitorNode, start=False)
        table = LadderRules(rules, STEPS)
        self.ladder = Degradation(self.node, table, act, steady=lambda: self.time)
        self.ladder.measures.state = State.TRACKING

    def pass_by(self, seconds, age):
        """Let chunks of an age come for a while [s]."""
        end = self.time + seconds
        while self.time < end:
            self.time += 0.25
            now = self.graph.now
            self.ladder.measures.take_chunk(chunk(now, age), now)
            self.ladder.look()
            self.graph.until(lambda: not self.ladder._waiting)

    def until(self, condition, age, most=60.0):
        end = self.time + most
        while not condition():
            assert self.time < end
            self.pass_by(0.25, age)


@pytest.fixture
def slow(graph):
    reasoner = graph.add(ReasonerNode, max_rate=8.0, pruning__method='uniform', pruning__keep=0.5)
    actor = graph.add(ActorNode)
    watched = Watched(graph, SLOW)
    graph.until(lambda: all(c.service_is_ready() for n, c in clients(watched) if 'actor' in n))
    graph.until(lambda: all(c.service_is_ready() for n, c in clients(watched) if 'reasoner' in n))
    return watched, reasoner, actor


def clients(watched):
    return watched.ladder._clients.items()


def test_a_slow_graph_is_lowered_and_climbs_back_to_what_the_user_set(slow):
    watched, reasoner, actor = slow
    watched.pass_by(1.75, age=0.3)
    assert not watched.ladder.held
    watched.until(lambda: 'plans' in watched.ladder.held, age=0.45)
    assert reasoner.settings.max_rate == 4.0
    assert reasoner.settings.pruning.keep == 0.5
    said = watched.node.health.message('ladder')
    assert said == 'degraded: plans (slow: chunk_share 0.9)'
    watched.until(lambda: 'passes' in watched.ladder.held, age=0.45)
    assert reasoner.settings.pruning.keep == 0.25
    assert actor.settings.flow.steps == 5
    assert list(watched.ladder.held) == ['plans', 'tokens', 'passes']
    watched.until(lambda: not watched.ladder.held, age=0.1)
    assert reasoner.settings.max_rate == 8.0
    assert reasoner.settings.pruning.keep == 0.5
    assert actor.settings.flow.steps == 0
    assert not watched.node.health.message('ladder')


def test_what_the_policy_does_without_is_left_out_and_what_a_person_changed_stays(slow):
    watched, reasoner, _ = slow
    reasoner.set_parameters_atomically([Parameter('pruning.method', value='none')])
    watched.until(lambda: 'passes' in watched.ladder.held, age=0.45)
    assert 'tokens' in watched.ladder.ladder.absent
    assert reasoner.settings.pruning.keep == 0.5
    reasoner.set_parameters_atomically([Parameter('max_rate', value=6.0)])
    watched.until(lambda: not watched.ladder.held, age=0.1)
    assert reasoner.settings.max_rate == 6.0


def test_a_ladder_that_only_tells_changes_nothing(graph):
    watched = Watched(graph, SLOW, act=False)
    watched.pass_by(3.0, age=0.45)
    assert watched.node.health.message('ladder').startswith('would be degraded: plans (slow')
    assert not watched.ladder._waiting
    assert not watched.ladder.held


def test_a_monitor_that_ends_gives_back_what_it_lowered(slow):
    watched, reasoner, _ = slow
    watched.until(lambda: 'plans' in watched.ladder.held, age=0.45)
    watched.ladder.close()
    watched.graph.until(lambda: reasoner.settings.max_rate == 8.0)
    watched.graph.until(lambda: not watched.ladder._clients)


def test_a_monitor_that_ends_leaves_what_a_person_changed(slow):
    watched, reasoner, _ = slow
    watched.until(lambda: 'plans' in watched.ladder.held, age=0.45)
    reasoner.set_parameters_atomically([Parameter('max_rate', value=6.0)])
    watched.ladder.close()
    watched.graph.until(lambda: not watched.ladder._clients)
    assert reasoner.settings.max_rate == 6.0


def test_a_step_that_is_under_way_as_the_monitor_ends_is_taken_back(slow):
    watched, reasoner, _ = slow
    step = STEPS['plans']
    watched.ladder._lower('plans', step, {'max_rate': 8.0})
    watched.ladder.close()
    watched.graph.until(lambda: not watched.ladder._clients)
    assert reasoner.settings.max_rate == 8.0
    assert not watched.ladder.held


def held_for_memory(graph):
    """Return an arm that the ladder holds, what is watched, and the share of free memory."""
    arm = Arm(graph)
    arm.moving()
    watched = Watched(graph, SCARCE)
    free = [0.01]
    watched.ladder.measures._memory = lambda: free[0]
    graph.until(watched.ladder._clients['controller/hold'].service_is_ready)
    watched.until(lambda: HOLD in watched.ladder.held, age=0.1)
    return arm, watched, free


def test_where_memory_ends_the_robot_holds_until_there_is_some(graph):
    arm, watched, free = held_for_memory(graph)
    assert arm.state == Status.STATE_PAUSED
    free[0] = 0.5
    watched.pass_by(1.0, age=0.1)
    assert arm.state == Status.STATE_PAUSED
    watched.until(lambda: HOLD not in watched.ladder.held, age=0.1)
    assert arm.state != Status.STATE_PAUSED


@pytest.mark.parametrize('resumed', [False, True])
def test_a_pause_of_a_person_outlasts_that_of_the_ladder(graph, resumed):
    arm, watched, free = held_for_memory(graph)
    if resumed:
        assert graph.call(SetBool, 'controller/pause', data=False).success
    assert graph.call(SetBool, 'controller/pause', data=True).success
    assert not graph.call(SetBool, 'controller/hold', data=True).success
    free[0] = 0.5
    watched.until(lambda: HOLD not in watched.ladder.held, age=0.1)
    assert arm.state == Status.STATE_PAUSED
    assert graph.call(SetBool, 'controller/pause', data=False).success
    assert arm.state != Status.STATE_PAUSED


def test_a_monitor_that_ends_leaves_a_held_robot_held_and_says_how_it_goes_on(graph):
    arm = Arm(graph)
    arm.moving()
    watched = Watched(graph, SCARCE)
    watched.ladder.measures._memory = lambda: 0.01
    graph.until(watched.ladder._clients['controller/hold'].service_is_ready)
    watched.until(lambda: HOLD in watched.ladder.held, age=0.1)
    watched.ladder.close()
    assert not watched.ladder._clients
    after = Watched(graph, SCARCE)
    after.ladder.measures._memory = lambda: 0.5
    graph.until(lambda: after.ladder.measures.held)
    after.pass_by(4.0, age=0.1)
    assert arm.state == Status.STATE_PAUSED
    assert 'pause with false' in after.node.health.message('held')


def test_measures_come_from_what_the_nodes_say():
    measures = Measures('/left', memory=lambda: 0.25)
    assert measures.values(10.0)['memory_free'] == 0.25
    assert 'chunk_share' not in measures.values(10.0)
    measures.take_status(msg.ControllerStatus(state=Status.STATE_TRACKING))
    measures.take_chunk(chunk(10.0, age=0.2), 10.0)
    images = [KeyValue(key='image_age_s', value='1.5')]
    status = DiagnosticStatus(name='/left/perception: health', values=images)
    measures.take_diagnostics(DiagnosticArray(status=[status]), 10.5)
    found = measures.values(11.0)
    assert measures.values(15.5)['camera_age'] == pytest.approx(6.5)
    assert found['chunk_share'] == pytest.approx(0.4)
    assert found['plan_share'] == pytest.approx(0.2)
    assert found['camera_age'] == pytest.approx(1.5)
    assert 'chunk_share' not in measures.values(41.0)
    measures.take_status(msg.ControllerStatus(state=Status.STATE_DISABLED))
    assert 'camera_age' not in measures.values(11.0)


def test_faults_of_a_gpu_and_answers_of_a_server_come_from_the_diagnostics():
    measures = Measures('/left', memory=lambda: 0.25)

    def report(name, message, **values):
        status = DiagnosticStatus(name=f'{name}: health', message=message)
        status.values = [KeyValue(key=k, value=v) for k, v in values.items()]
        measures.take_diagnostics(DiagnosticArray(status=[status]), 10.0)

    report('/left/actor', 'ok', policy='evla-nano', latency_p50_ms='900')
    report('/right/reasoner', 'out_of_memory: 2 GB', policy='ws://host:1', latency_p50_ms='800')
    found = measures.values(10.5)
    assert found['gpu_faults'] == 0
    assert math.isnan(found['round_trip'])
    report(
        '/left/reasoner', 'pass: x; out_of_memory: 2 GB', policy='ws://h:1', latency_p50_ms='700'
    )
    report('/left/perception', 'device_lost: gone', policy='ws://h:1', latency_p50_ms='odd')
    found = measures.values(10.5)
    assert found['gpu_faults'] == 2
    assert found['round_trip'] == pytest.approx(0.7)
    assert measures.values(14.0)['gpu_faults'] == 0


def test_errors_of_the_device_are_told_from_others():
    import torch

    assert device_fault(torch.cuda.OutOfMemoryError('CUDA out of memory')) == 'out_of_memory'
    assert device_fault(MemoryError()) == 'out_of_memory'
    assert device_fault(RuntimeError('CUDA error: unspecified launch failure')) == 'device_lost'
    assert device_fault(RuntimeError('sizes do not match')) == ''


def test_memory_that_ran_out_is_a_rule_that_ends_with_the_next_good_pass(graph):
    node = graph.add(ReasonerNode)
    node._pass_failed(MemoryError('2 GB'))
    assert '2 GB' in node.health.message('out_of_memory')
    assert not node.exit_code
    node.work = lambda job: None
    node._guarded_work(None)
    assert not node.health.message('out_of_memory')


@pytest.mark.parametrize('what', ['restart', 'cpu'])
def test_a_stage_whose_gpu_is_lost_starts_again_or_goes_on_on_the_cpu(graph, what):
    node = graph.add(ReasonerNode, device_lost=what)
    before = node.stage
    node._pass_failed(RuntimeError('CUDA error: device lost'))
    node.look()
    if what == 'restart':
        assert node.exit_code == EXIT_HUNG
        assert 'device lost' in node.health.message('device_lost')
        return
    assert not node.exit_code
    assert node.active
    assert node.stage is not before
    assert node.get_parameter('device').value == node.settings.device == 'cpu'
    assert 'computes on the CPU' in node.health.message('device')


def test_a_stage_that_cannot_be_loaded_on_the_cpu_is_started_anew(graph, monkeypatch):
    node = graph.add(ReasonerNode, device_lost='cpu')

    def lost(place):
        raise OSError('the folder is gone')

    monkeypatch.setattr(node, 'load', lost)
    node._pass_failed(RuntimeError('CUDA error: device lost'))
    node.look()
    assert node.exit_code == EXIT_HUNG
    assert 'the folder is gone' in node.health.message('configure')
    assert not node.health.message('device')


def test_a_monitor_refuses_a_ladder_that_it_cannot_read(graph, tmp_path):
    node = graph.add(MonitorNode, start=False, ladder__file=str(tmp_path / 'none.yaml'))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert 'none.yaml cannot be read' in node.health.status('', {}).message


def test_a_slow_head_in_the_whole_graph_lowers_the_rate_of_plans_and_gives_it_back(graph):
    whole = Whole(graph)
    whole.start()
    watched = Watched(graph, Rule('slow', 'chunk_share', 0.6, 0.4, 2.0, 3.0, ('plans',)))
    graph.until(lambda: all(c.service_is_ready() for _, c in clients(watched)))
    chunk, delay = whole.actor.loaded.chunk, [0.0]

    def slow(*given):
        graph.set_time(graph.now + delay[0])
        return chunk(*given)

    whole.actor.loaded.chunk = slow
    rate = whole.reasoner.settings.max_rate

    def live(until):
        for _ in range(60):
            whole.run(0.1)
            watched.time += 0.5
            watched.ladder.look()
            graph.until(lambda: not watched.ladder._waiting)
            if until():
                return
        pytest.fail(str(watched.ladder.measures.values(graph.now)))

    live(lambda: 'chunk_share' in watched.ladder.measures.values(graph.now))
    assert watched.ladder.measures.values(graph.now)['chunk_share'] < 0.4
    assert not watched.ladder.held
    delay[0] = 0.35
    live(lambda: 'plans' in watched.ladder.held)
    assert whole.reasoner.settings.max_rate == rate / 2
    delay[0] = 0.0
    live(lambda: not watched.ladder.held)
    assert whole.reasoner.settings.max_rate == rate
