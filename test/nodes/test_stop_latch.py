# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A stop ends by reset_stop and by nothing else; what keeps a robot safe stays while it moves."""

import json
import os

import pytest
from nodes.arm import Arm, Status
from nodes.test_task_server import Operator
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from efficient_vla.action import ExecuteTask
from efficient_vla.nodes.controller.latch import StopLatch
from efficient_vla.nodes.controller.node import ControllerNode


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
    name, domain = '/controller', int(os.environ['ROS_DOMAIN_ID'])
    logger = stopped.node.get_logger()
    assert StopLatch(name, domain, logger).reason == 'stop requested'
    assert not StopLatch(name, domain + 1, logger).reason
    assert not StopLatch('/left/controller', domain, logger).reason
    path = StopLatch(name, domain, logger).path
    path.write_text(json.dumps({'boot': 'another', 'reason': 'stop requested'}))
    assert not StopLatch(name, domain, logger).reason


@pytest.mark.parametrize('content', [b'', b'{', b'[]', b'{"boot": 1}', b'\xff\xfe'])
def test_a_damaged_file_counts_as_a_stop(stopped, content):
    path = stopped.node._latch.path
    path.write_bytes(content)
    latch = StopLatch('/controller', int(os.environ['ROS_DOMAIN_ID']), stopped.node.get_logger())
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


def test_a_robot_must_be_armed_by_a_person_unless_it_is_said_otherwise(graph):
    assert graph.add(ControllerNode).settings.arming == 'manual'


CHANGES = {
    'limits.max_velocity': [0.7],
    'limits.position_high': [9.0],
    'watchdog.chunk_timeout': 0.6,
    'following_error': 0.5,
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


def test_what_only_tunes_the_motion_may_change_while_it_moves(graph):
    arm = Arm(graph)
    arm.moving()
    assert arm.node.set_parameters([Parameter('blending.fade_time', value=0.2)])[0].successful
