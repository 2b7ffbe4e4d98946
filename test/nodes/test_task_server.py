# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Every goal ends exactly once, with the right reason and the robot at rest."""

import math
import time

import pytest
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nodes.arm import Arm, Status
from rclpy.action import ActionClient
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from efficient_vla import msg
from efficient_vla.action import ExecuteTask
from efficient_vla.nodes.base.qos import latched_qos
from efficient_vla.nodes.stages.perception import PerceptionNode
from efficient_vla.types import ControlMode

Result = ExecuteTask.Result
TASK = 'open the drawer'


class Operator:
    def __init__(self, graph, **values):
        self.graph = graph
        self.arm = Arm(graph, **values)
        self.client = ActionClient(graph.peer, ExecuteTask, 'execute_task')
        self.instructions = graph.hear(msg.Instruction, 'instruction', latched_qos())
        self.feedback = []
        self.results = []
        graph.until(self.client.server_is_ready)
        graph.until(self.arm.node._tasks._instruction.get_subscription_count)

    def send(self, text=TASK, duration=0.0):
        """Send a goal; return its handle."""
        goal = ExecuteTask.Goal(instruction=text, max_duration_s=duration)
        future = self.client.send_goal_async(goal, feedback_callback=self.feedback.append)
        self.graph.until(future.done)
        handle = future.result()
        assert handle.accepted
        handle.result = handle.get_result_async()
        handle.result.add_done_callback(lambda f: self.results.append(f.result()))
        return handle

    def begin(self, **fields):
        """Send a goal and move."""
        self.arm.locate()
        handle = self.send(**fields)
        self.graph.until(lambda: self.instructions)
        self.arm.send_chunk()
        self.arm.run(0.2)
        assert self.arm.state == Status.STATE_TRACKING
        return handle

    def end(self, handle, reason, status):
        """Let the robot come to rest; check the one result."""
        self.arm.run(0.25)
        self.graph.until(handle.result.done)
        answer = handle.result.result()
        assert answer.result.reason == reason, answer.result.message
        assert answer.status == status
        assert answer.result.message
        assert self.arm.node.at_rest
        return answer.result


@pytest.fixture
def operator(graph):
    return Operator(graph)


def test_success_of_the_robot_ends_the_goal(graph, operator):
    handle = operator.begin()
    operator.arm.success.publish(Bool(data=True))
    graph.until(lambda: operator.arm.node._tasks._ending)
    result = operator.end(handle, Result.REASON_SUCCEEDED, GoalStatus.STATUS_SUCCEEDED)
    assert result.duration_s == pytest.approx(0.2, abs=0.05)
    graph.until(lambda: operator.instructions[-1].text == '')
    assert [i.text for i in operator.instructions] == [TASK, '']
    assert operator.arm.state == Status.STATE_DISABLED


def test_success_from_before_the_goal_does_not_count(graph, operator):
    operator.arm.success.publish(Bool(data=True))
    handle = operator.begin()
    assert not handle.result.done()
    assert handle.status == GoalStatus.STATUS_EXECUTING


def test_time_runs_out(operator):
    handle = operator.begin(duration=0.3)
    operator.arm.run(0.15)
    operator.end(handle, Result.REASON_TIMED_OUT, GoalStatus.STATUS_ABORTED)


def test_a_task_whose_client_died_ends_with_the_robot_at_rest(graph):
    operator = Operator(graph, task_timeout=0.5)
    handle = operator.begin()
    operator.client.destroy()
    assert operator.arm.speed() > 0
    operator.arm.run(0.7)
    assert operator.arm.node._tasks._goal is None
    assert operator.arm.state == Status.STATE_DISABLED
    assert operator.arm.node.at_rest
    assert operator.instructions[-1].text == ''
    assert not handle.result.done()


@pytest.mark.parametrize(('default', 'own'), [(0.3, 5.0), (0.0, 0.0)])
def test_the_time_of_the_goal_wins_and_none_at_all_is_a_choice(graph, default, own):
    operator = Operator(graph, task_timeout=default)
    handle = operator.begin(duration=own)
    operator.arm.run(0.4)
    graph.settle()
    assert not handle.result.done()


def test_time_of_a_task_begins_anew_where_the_clock_jumps_back(graph, operator):
    handle = operator.begin(duration=0.5)
    graph.set_time(50.0)
    operator.arm.run(0.4)
    assert not handle.result.done()
    operator.arm.run(0.15)
    operator.end(handle, Result.REASON_TIMED_OUT, GoalStatus.STATUS_ABORTED)


def test_cancel_brakes_and_ends_canceled(graph, operator):
    handle = operator.begin()
    future = handle.cancel_goal_async()
    graph.until(future.done)
    assert future.result().goals_canceling
    operator.arm.run(0.02)
    assert operator.arm.speed() > 0
    operator.end(handle, Result.REASON_CANCELED, GoalStatus.STATUS_CANCELED)


def test_stop_ends_the_goal_and_refuses_the_next(graph, operator):
    handle = operator.begin()
    operator.arm.stop()
    operator.end(handle, Result.REASON_STOPPED, GoalStatus.STATUS_ABORTED)
    assert operator.arm.state == Status.STATE_STOPPED
    again = operator.send()
    operator.end(again, Result.REASON_STOPPED, GoalStatus.STATUS_ABORTED)
    assert 'enable' in again.result.result().result.message


def test_disabling_ends_the_goal(operator):
    handle = operator.begin()
    operator.arm.enable(False)
    operator.end(handle, Result.REASON_STOPPED, GoalStatus.STATUS_ABORTED)


@pytest.mark.parametrize('text', ['', '   ', 'x' * 10_000, 'открой ящик'])
def test_bad_instruction_is_rejected_and_never_published(graph, operator, text):
    operator.arm.locate()
    handle = operator.send(text=text)
    operator.end(handle, Result.REASON_REJECTED_INSTRUCTION, GoalStatus.STATUS_ABORTED)
    assert operator.arm.node.health.message('task')
    assert all(i.text == '' for i in operator.instructions)
    assert operator.arm.state == Status.STATE_DISABLED


@pytest.mark.parametrize('fields', [{'text': ''}, {'duration': math.nan}])
def test_goal_that_is_none_leaves_the_task_that_runs_alone(graph, operator, fields):
    running = operator.begin()
    bad = operator.send(**fields)
    graph.until(bad.result.done)
    assert bad.result.result().status == GoalStatus.STATUS_ABORTED
    operator.arm.run(0.1)
    assert not running.result.done()
    assert operator.arm.state == Status.STATE_TRACKING
    assert operator.instructions[-1].text == TASK


@pytest.mark.parametrize('duration', [math.nan, -1.0, math.inf])
def test_bad_duration_is_a_fault(graph, operator, duration):
    operator.arm.locate()
    handle = operator.send(duration=duration)
    operator.end(handle, Result.REASON_FAULT, GoalStatus.STATUS_ABORTED)


def test_goal_without_a_robot_is_a_fault(graph, operator):
    handle = operator.send()
    result = operator.end(handle, Result.REASON_FAULT, GoalStatus.STATUS_ABORTED)
    assert 'set-point of the robot is not known' in result.message


def test_newer_goal_replaces_the_one_that_runs(graph, operator):
    first = operator.begin()
    second = operator.send(text='close the window')
    graph.until(first.result.done)
    assert first.result.result().result.reason == Result.REASON_CANCELED
    operator.arm.run(0.05)
    assert operator.arm.state in (Status.STATE_DECELERATING, Status.STATE_HOLDING)
    assert not second.result.done()
    graph.until(lambda: operator.instructions[-1].text == 'close the window')
    assert len(operator.results) == 1


def test_chunk_of_the_task_before_moves_nothing_any_more(graph, operator):
    operator.begin()
    arm = operator.arm
    operator.send(text='close the window')
    arm.run(0.25)
    assert arm.state == Status.STATE_HOLDING
    arm.send_chunk(arm.make_chunk(instruction=TASK))
    assert "made for the task 'open the drawer'" in arm.node.health.message('chunk')
    assert arm.state == Status.STATE_HOLDING
    assert arm.status[-1].rejected_chunks == 1
    arm.send_chunk(arm.make_chunk(instruction='close the window'))
    assert arm.state == Status.STATE_TRACKING


def test_goal_that_is_replaced_while_it_ends_keeps_its_reason(graph, operator):
    first = operator.begin()
    operator.arm.success.publish(Bool(data=True))
    graph.until(lambda: operator.arm.node._tasks._ending is not None)
    operator.send(text='close the window')
    graph.until(first.result.done)
    assert first.result.result().result.reason == Result.REASON_SUCCEEDED
    assert first.result.result().status == GoalStatus.STATUS_SUCCEEDED


def test_deactivating_the_controller_ends_the_goal(graph, operator):
    handle = operator.begin()
    operator.arm.node.trigger_deactivate()
    operator.end(handle, Result.REASON_FAULT, GoalStatus.STATUS_ABORTED)


def test_feedback_tells_state_and_time(graph, operator):
    operator.begin()
    operator.arm.run(0.3)
    graph.until(lambda: len(operator.feedback) >= 2)
    feedback = operator.feedback[-1].feedback
    assert feedback.state == Status.STATE_TRACKING
    assert feedback.chunk_sequence == 1
    assert feedback.elapsed_s > 0.2


def test_several_endings_at_once_give_one_result(graph, operator):
    handle = operator.begin(duration=0.25)
    operator.arm.success.publish(Bool(data=True))
    graph.until(lambda: operator.arm.node._tasks._ending)
    operator.arm.stop()
    graph.until(handle.cancel_goal_async().done)
    operator.arm.run(0.3)
    graph.until(handle.result.done)
    graph.settle()
    assert len(operator.results) == 1
    assert operator.results[0].result.reason == Result.REASON_SUCCEEDED


@pytest.mark.parametrize('again', [False, True])
def test_pause_outlives_the_task(graph, operator, again):
    handle = operator.begin()
    assert graph.call(SetBool, 'controller/pause', data=True).success
    operator.arm.run(0.2)
    graph.until(handle.cancel_goal_async().done)
    operator.end(handle, Result.REASON_CANCELED, GoalStatus.STATUS_CANCELED)
    assert operator.arm.state == Status.STATE_PAUSED
    if again:
        operator.send(text='close the window')
    operator.arm.run(0.1)
    assert operator.arm.state == Status.STATE_PAUSED
    assert graph.call(SetBool, 'controller/pause', data=False).success
    # Without a task nothing is left to go on with.
    expected = Status.STATE_WAITING if again else Status.STATE_DISABLED
    assert operator.arm.state == expected


def test_goal_given_in_a_pause_begins_when_the_pause_ends(graph, operator):
    operator.arm.moving()
    assert graph.call(SetBool, 'controller/pause', data=True).success
    operator.arm.run(0.2)
    handle = operator.send()
    operator.arm.run(0.2)
    assert not handle.result.done()
    assert operator.arm.state == Status.STATE_PAUSED
    assert graph.call(SetBool, 'controller/pause', data=False).success
    held = operator.arm.position[1]
    operator.arm.send_chunk()
    operator.arm.run(0.3)
    assert operator.arm.position[1] > held + 0.01
    operator.arm.success.publish(Bool(data=True))
    graph.until(lambda: operator.arm.node._tasks._ending)
    operator.end(handle, Result.REASON_SUCCEEDED, GoalStatus.STATUS_SUCCEEDED)


def test_next_goal_moves_again(graph, operator):
    handle = operator.begin()
    operator.arm.success.publish(Bool(data=True))
    graph.until(lambda: operator.arm.node._tasks._ending)
    operator.end(handle, Result.REASON_SUCCEEDED, GoalStatus.STATUS_SUCCEEDED)
    operator.begin()


def test_result_of_a_task_that_ran_out_of_time_tells_which_input_is_missing(graph, operator):
    perception = graph.add(PerceptionNode)
    graph.until(lambda: perception.health.message('no camera/image_raw'))
    complaints = operator.arm.node._tasks._complaints
    graph.until(complaints.now)
    handle = operator.begin(duration=0.3)
    operator.arm.run(0.15)
    result = operator.end(handle, Result.REASON_TIMED_OUT, GoalStatus.STATUS_ABORTED)
    assert result.message.startswith('not done after 0.3 s; perception: no camera/image_raw: ')
    assert '/camera/image_raw (sensor_msgs/msg/Image) has 0 publishers' in result.message


def test_result_of_a_task_whose_chunks_were_all_refused_tells_why(graph, operator):
    arm = operator.arm
    arm.locate()
    handle = operator.send(duration=0.3)
    graph.until(lambda: operator.instructions)
    wrong = {'names': ('j1', 'j2', 'j3', 'gripper'), 'control_mode': ControlMode.JOINT_DELTA}
    arm.send_chunk(arm.make_chunk(**wrong))
    assert arm.state == Status.STATE_WAITING
    assert arm.node.health.status('', {}).level == DiagnosticStatus.ERROR
    arm.node.publish_diagnostics()
    graph.until(arm.node._tasks._complaints.now)
    arm.run(0.3)
    result = operator.end(handle, Result.REASON_TIMED_OUT, GoalStatus.STATUS_ABORTED)
    assert result.message.startswith('not done after 0.3 s; controller: chunk: ')
    assert 'j1, j2, j3' in result.message


def test_chunk_that_is_refused_while_another_one_drives_is_no_error(operator):
    arm = operator.arm
    operator.begin()
    arm.send_chunk(arm.make_chunk(names=('j1', 'j2', 'j3', 'gripper')))
    assert 'j1, j2, j3' in arm.node.health.message('chunk')
    assert arm.state == Status.STATE_TRACKING
    assert arm.node.health.status('', {}).level == DiagnosticStatus.WARN


def test_refused_task_tells_that_the_robot_is_silent(graph, operator):
    graph.peer.destroy_publisher(operator.arm.states)
    graph.until(operator.arm.node._tasks._complaints.now)
    handle = operator.send()
    graph.until(handle.result.done)
    result = handle.result.result().result
    assert result.reason == Result.REASON_FAULT
    assert 'is the robot running?; controller: no robot_state: /robot_state ' in result.message


def status(name, level=DiagnosticStatus.ERROR, text='lens: broken'):
    return DiagnosticStatus(name=name, level=level, message=text)


NO_X = ['controller: no x: far']
"""The other rules say again what the result of a task says."""


@pytest.mark.parametrize(
    ('statuses', 'told'),
    [
        ([status('/actor: health')], ['actor: lens: broken']),
        ([status('/actor: health', text='lens: ' + 'x' * 9999)], ['actor: lens: ' + 'x' * 494]),
        ([status('/actor: health', DiagnosticStatus.WARN)], []),
        ([status('/controller: health', text='task: late; no x: far; stopped: by hand')], NO_X),
        ([status('/other/actor: health')], []),
        ([status('motor driver')], []),
        ([status('/actor: health')] * 2, []),
        ([], []),
    ],
)
def test_only_errors_of_the_own_graph_are_told(operator, statuses, told):
    complaints = operator.arm.node._tasks._complaints
    complaints._said.clear()
    complaints.take(DiagnosticArray(status=statuses))
    assert complaints.now() == told


def test_complaint_that_was_withdrawn_or_is_old_is_not_told(operator, monkeypatch):
    complaints = operator.arm.node._tasks._complaints
    complaints.take(DiagnosticArray(status=[status('/actor: health')]))
    complaints.take(DiagnosticArray(status=[status('/actor: health', DiagnosticStatus.OK, 'ok')]))
    assert not [text for text in complaints.now() if text.startswith('actor')]
    complaints.take(DiagnosticArray(status=[status('/actor: health')]))
    assert 'actor: lens: broken' in complaints.now()
    later = time.monotonic() + 3.0
    monkeypatch.setattr('efficient_vla.nodes.base.complaints.monotonic', lambda: later)
    assert complaints.now() == []
