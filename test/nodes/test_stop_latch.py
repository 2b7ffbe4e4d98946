# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A stop ends by reset_stop and by nothing else; what keeps a robot safe stays while it moves."""

import json
import os
from types import SimpleNamespace

import pytest
from fixtures.domains import DOMAINS
from nodes.arm import Arm, Status
from nodes.test_task_server import Operator
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from efficient_vla.action import ExecuteTask
from efficient_vla.nodes.controller.latch import StopLatch
from efficient_vla.nodes.controller.node import ControllerNode

UNTESTED_DOMAIN = DOMAINS.stop
"""A domain that is lent to no test, so that none beside this one leaves a stop there."""


def graph_domain():
    return int(os.environ['ROS_DOMAIN_ID'])


@pytest.fixture
def stopped(graph):
    arm = Arm(graph)
    arm.moving()
    assert arm.stop().success
    arm.run(0.2)
    assert arm.state == Status.STATE_STOPPED
    return arm


def disable(arm):
    assert arm.enable(False).success


def deactivate(arm):
    arm.node.trigger_deactivate()
    arm.node.trigger_activate()


def configure_anew(arm):
    arm.node.trigger_deactivate()
    arm.node.trigger_cleanup()
    arm.node.trigger_configure()
    arm.node.trigger_activate()


def stop_again(arm):
    assert arm.stop().success


@pytest.mark.parametrize('other', [disable, deactivate, configure_anew, stop_again])
def test_a_stop_survives_everything_but_its_reset(stopped, other):
    other(stopped)
    stopped.locate()
    assert stopped.state == Status.STATE_STOPPED
    refused = stopped.enable()
    assert not refused.success
    assert 'reset_stop' in refused.message
    assert stopped.reset_stop().success
    assert stopped.state == Status.STATE_DISABLED
    assert stopped.enable().success


def test_a_stop_is_an_error_in_the_diagnostics_until_its_reset(stopped):
    assert stopped.node.health.message('stopped').startswith('stop requested. Call reset_stop')
    assert stopped.reset_stop().success
    stopped.run(0.2)
    assert not stopped.node.health.message('stopped')


def test_a_controller_that_is_started_again_is_still_stopped_and_says_why(graph, stopped):
    graph.remove(stopped.node)
    stopped.node = graph.add(ControllerNode, arming='auto')
    stopped.locate()
    assert stopped.state == Status.STATE_STOPPED
    assert stopped.node._controller.reason == 'stop requested'
    assert not stopped.enable().success
    assert stopped.reset_stop().success
    graph.remove(stopped.node)
    stopped.node = graph.add(ControllerNode)
    stopped.locate()
    assert stopped.state == Status.STATE_DISABLED


def test_a_controller_that_ended_while_enabled_comes_back_disabled(graph):
    arm = Arm(graph)
    arm.moving()
    graph.remove(arm.node)
    arm.node = graph.add(ControllerNode, arming='auto')
    arm.locate()
    assert arm.state == Status.STATE_DISABLED


def test_a_stop_that_the_controller_made_itself_is_remembered_too(graph):
    arm = Arm(graph)
    arm.moving()
    arm.node._controller.stop(graph.now, 'robot is 0.300 from its set-point')
    arm.run(0.2)
    graph.remove(arm.node)
    arm.node = graph.add(ControllerNode)
    assert arm.state == Status.STATE_STOPPED
    assert '0.300' in arm.node._controller.reason


def test_a_stop_belongs_to_one_controller_of_one_domain_and_one_boot(stopped):
    name, domain = '/controller', graph_domain()
    logger = stopped.node.get_logger()
    assert StopLatch(name, domain, logger).reason == 'stop requested'
    assert not StopLatch(name, UNTESTED_DOMAIN, logger).reason
    assert not StopLatch('/left/controller', domain, logger).reason
    path = StopLatch(name, domain, logger).path
    path.write_text(json.dumps({'boot': 'another', 'reason': 'stop requested'}))
    assert not StopLatch(name, domain, logger).reason


@pytest.mark.parametrize('content', [b'', b'{', b'[]', b'{"boot": 1}', b'\xff\xfe'])
def test_a_damaged_file_counts_as_a_stop(stopped, content):
    path = stopped.node._latch.path
    path.write_bytes(content)
    latch = StopLatch('/controller', graph_domain(), stopped.node.get_logger())
    assert 'stopped before' in latch.reason
    latch.clear()
    assert not path.exists()


def test_a_task_cannot_enable_a_robot_that_a_person_must_arm(graph):
    operator = Operator(graph, arming='manual')
    arm = operator.arm
    arm.locate()
    handle = operator.send()
    graph.until(handle.result.done)
    result = handle.result.result().result
    assert result.reason == ExecuteTask.Result.REASON_STOPPED
    assert 'set_enabled' in result.message
    assert arm.state == Status.STATE_DISABLED
    assert all(instruction.text == '' for instruction in operator.instructions)
    assert arm.enable().success
    armed = operator.send()
    graph.until(lambda: operator.instructions[-1].text)
    assert not armed.result.done()


@pytest.fixture
def manual(graph):
    operator = Operator(graph, arming='manual')
    operator.arm.locate()
    assert operator.arm.enable().success
    return operator


def refused(operator, handle):
    """Check that a task was refused for want of a person, and that nothing moves without one."""
    operator.graph.until(handle.result.done)
    result = handle.result.result().result
    assert result.reason == ExecuteTask.Result.REASON_STOPPED
    assert 'set_enabled' in result.message
    operator.arm.run(0.25)
    assert operator.arm.node.at_rest
    operator.arm.chunks.publish(operator.arm.make_chunk(instruction='close the drawer'))
    operator.arm.run(0.2)
    assert operator.arm.speed() == 0.0


def test_a_task_that_is_sent_in_the_pause_of_one_that_ended_needs_a_person(graph, manual):
    handle = manual.begin()
    assert graph.call(SetBool, 'controller/pause', data=True).success
    manual.arm.run(0.2)
    graph.until(handle.cancel_goal_async().done)
    manual.arm.run(0.2)
    graph.until(handle.result.done)
    again = manual.send('close the drawer')
    assert graph.call(SetBool, 'controller/pause', data=False).success
    assert manual.arm.state == Status.STATE_DISABLED
    refused(manual, again)


def test_a_task_that_replaces_another_needs_a_person_of_its_own(graph, manual):
    first = manual.begin()
    second = manual.send('close the drawer')
    refused(manual, second)
    assert first.result.result().result.reason == ExecuteTask.Result.REASON_CANCELED
    assert manual.arm.enable().success
    first = manual.begin()
    assert manual.arm.enable().success, 'for the next task, while this one runs'
    second = manual.send('close the drawer')
    graph.until(lambda: manual.instructions[-1].text == 'close the drawer')
    assert not second.result.done()
    refused(manual, manual.send('open the drawer'))


def test_a_stop_is_taken_and_taken_back_where_the_controller_is_not_configured(graph, stopped):
    arm = stopped
    arm.node.trigger_deactivate()
    arm.node.trigger_cleanup()
    assert arm.reset_stop().success
    assert not arm.reset_stop().success
    assert arm.stop().success
    assert StopLatch('/controller', graph_domain(), arm.node.get_logger()).reason
    arm.node.trigger_configure()
    arm.node.trigger_activate()
    arm.locate()
    assert arm.state == Status.STATE_STOPPED
    assert not arm.enable().success
    assert arm.reset_stop().success
    assert arm.enable().success


def test_a_stop_is_found_again_whatever_the_environment_says(stopped, tmp_path, monkeypatch):
    for name in ('XDG_RUNTIME_DIR', 'TMPDIR', 'HOME'):
        monkeypatch.setenv(name, str(tmp_path))
    logger = stopped.node.get_logger()
    assert StopLatch('/controller', graph_domain(), logger).reason == 'stop requested'
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('kind', ['open', 'link', 'file'])
def test_a_folder_that_others_can_write_into_counts_as_a_stop(tmp_path, monkeypatch, kind):
    place, errors = tmp_path / 'stops', []
    monkeypatch.setattr('efficient_vla.nodes.controller.latch.folder', lambda: place)
    if kind == 'link':
        (tmp_path / 'other').mkdir(mode=0o700)
        place.symlink_to(tmp_path / 'other')
    elif kind == 'open':
        place.mkdir()
        place.chmod(0o777)
    else:
        place.touch()
    logger = SimpleNamespace(error=errors.append)
    latch = StopLatch('/controller', 1, logger)
    assert 'only user' in latch.reason
    latch.clear()
    latch.set('stop requested')
    assert latch.reason == 'stop requested'
    assert '0700' in errors[-1]


def test_a_robot_must_be_armed_by_a_person_unless_it_is_said_otherwise(graph):
    assert graph.add(ControllerNode).settings.arming == 'manual'


CHANGES = {
    'limits.max_velocity': [0.7],
    'limits.position_high': [9.0],
    'watchdog.chunk_timeout': 0.6,
    'following_error': 0.5,
    'robot_delay': 0.05,
    'state_timeout': 2.0,
    'reset_distance': [0.03],
    'arming': 'manual',
}


@pytest.mark.parametrize('name', CHANGES)
def test_what_keeps_the_robot_safe_cannot_change_while_it_may_move(graph, name):
    arm = Arm(graph)
    change = [Parameter(name, value=CHANGES[name])]
    arm.moving()
    before = arm.node.settings
    refused = arm.node.set_parameters(change)[0]
    assert not refused.successful
    assert name in refused.reason
    assert 'set_enabled' in refused.reason
    assert graph.call(SetBool, 'controller/pause', data=True).success
    assert not arm.node.set_parameters(change)[0].successful, 'a pause goes on by itself'
    assert graph.call(SetBool, 'controller/pause', data=False).success
    assert arm.enable(False).success
    assert not arm.node.set_parameters(change)[0].successful, 'it still brakes'
    arm.run(0.25)
    assert arm.node.settings == before
    assert arm.node.set_parameters(change)[0].successful
    assert arm.enable().success
    assert arm.node._controller.settings == arm.node.settings != before


def test_a_pause_that_was_ended_by_enabling_leaves_no_trace(graph, manual):
    arm = manual.arm
    arm.locate()
    assert arm.enable().success
    handle = manual.send()
    arm.send_chunk()
    arm.run(0.2)
    assert graph.call(SetBool, 'controller/pause', data=True).success
    arm.run(0.3)
    graph.until(handle.cancel_goal_async().done)
    arm.run(0.3)
    graph.until(handle.result.done)
    arm.enable(False)
    assert arm.enable().success
    again = manual.send()
    arm.run(0.1)
    assert not again.result.done()


def test_what_only_tunes_the_motion_may_change_while_it_moves(graph):
    arm = Arm(graph)
    arm.moving()
    assert arm.node.set_parameters([Parameter('blending.fade_time', value=0.2)])[0].successful
