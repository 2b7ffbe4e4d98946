# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The robot moves only by good chunks while enabled, and ends at rest whatever happens."""

import math
import re
from array import array

import numpy as np
import pytest
from nodes.arm import HOME, Arm, Status
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from efficient_vla import msg
from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.nodes.base.conversions import seconds_to_stamp, stamp_to_seconds
from efficient_vla.nodes.base.qos import report_qos
from efficient_vla.nodes.controller.node import ControllerNode
from efficient_vla.settings import InvalidSettingError, build


@pytest.fixture
def arm(graph):
    return Arm(graph)


def test_enabled_controller_follows_a_chunk(arm):
    arm.moving()
    assert arm.position[1] > HOME[1] + 0.02
    assert arm.position[0] == pytest.approx(HOME[0])
    assert arm.commands[-1].name == ['x', 'y', 'z', 'gripper']
    assert arm.status[-1].chunk_sequence == 1


def test_the_status_tells_of_a_new_chunk_at_once(graph, arm, monkeypatch):
    monkeypatch.setattr('efficient_vla.nodes.controller.telling.STATUS_PERIOD_S', 60.0)
    arm.moving()
    graph.run(0.15)
    count = len(arm.status)
    arm.chunks.publish(arm.make_chunk())
    graph.until(lambda: len(arm.status) > count)
    said = arm.status[-1]
    assert said.chunk_sequence == 2
    assert (said.time_scale, said.blending) == (1.0, 'offset_fade')
    assert 0 <= said.row < 10
    assert stamp_to_seconds(said.observation_stamp) > 0
    graph.run(0.1)
    assert len(arm.status) == count + 1


def test_nothing_is_commanded_before_it_is_enabled(arm):
    arm.locate()
    arm.chunks.publish(arm.make_chunk())
    arm.run(0.2)
    assert not arm.commands
    assert arm.state == Status.STATE_DISABLED
    assert math.isnan(arm.status[-1].delay_steps)


def test_enabling_needs_a_robot(arm):
    response = arm.enable()
    assert not response.success
    assert 'set-point of the robot is not known' in response.message


def test_chunks_that_end_lead_to_a_hold_within_100_ms(graph, arm):
    arm.moving()
    graph.run(0.25)
    while arm.state == Status.STATE_TRACKING:
        graph.run(0.01)
    begin = graph.now
    while arm.state == Status.STATE_DECELERATING:
        graph.run(0.01)
    assert graph.now - begin <= 0.1
    assert arm.state == Status.STATE_HOLDING
    assert arm.speed() == pytest.approx(0)
    held = arm.position.copy()
    arm.run(0.2)
    assert np.array_equal(arm.position, held)
    assert arm.status[-1].underruns == 1


def bad_chunks(arm):
    nan = arm.make_chunk()
    nan.actions = array('f', [math.nan] * 160)
    wide = arm.make_chunk()
    wide.names = [*wide.names, 'elbow']
    empty = arm.make_chunk()
    empty.horizon, empty.actions = 0, array('f')
    future = arm.make_chunk(stamp=arm.graph.now + 1.0)
    stale = arm.make_chunk(stamp=arm.graph.now - 5.0)
    renamed = arm.make_chunk(names=('a', 'b', 'c', 'gripper'))
    unknown = arm.make_chunk()
    unknown.kinds = [0, 0, 0, 0]
    displaced = arm.make_chunk()
    displaced.header.frame_id = 'camera'
    return {
        'nan': (nan, 'not finite'),
        'wide': (wide, '160 values for 40 rows of 5'),
        'empty': (empty, '0 values for 0 rows'),
        'future': (future, 'in the future'),
        'stale': (stale, 'nothing left|old|reset'),
        'renamed': (renamed, 'columns a, b, c'),
        'unknown': (unknown, 'column x is of kind UNKNOWN'),
        'displaced': (displaced, "frame 'camera'; expected 'world' or none"),
    }


@pytest.mark.parametrize(
    'name', ['nan', 'wide', 'empty', 'future', 'stale', 'renamed', 'unknown', 'displaced']
)
def test_bad_chunk_never_moves_the_robot(graph, arm, name):
    arm.locate()
    assert arm.enable().success
    message, words = bad_chunks(arm)[name]
    arm.send_chunk(message)
    arm.run(0.2)
    assert np.array_equal(arm.position, HOME)
    assert arm.status[-1].rejected_chunks == 1
    assert re.search(words, arm.node.health.message('chunk'))


def test_chunk_of_a_plan_past_its_validity_is_refused(graph, arm):
    arm.locate()
    assert arm.enable().success
    arm.send_chunk(arm.make_chunk(plan_stamp=graph.now - 3.0, plan_valid_for=2.0))
    arm.run(0.1)
    assert np.array_equal(arm.position, HOME)
    assert 'it was valid for 2' in arm.node.health.message('chunk')


def test_refused_chunk_of_the_time_before_is_not_told_any_more(graph, arm):
    arm.locate()
    assert arm.enable().success
    arm.send_chunk(arm.make_chunk(plan_stamp=graph.now - 3.0, plan_valid_for=2.0))
    assert 'chunk refused' in arm.status[-1].reason
    assert arm.enable(False).success
    assert arm.enable().success
    graph.until(lambda: arm.status[-1].state == Status.STATE_WAITING)
    assert 'chunk refused' not in arm.status[-1].reason


def test_an_arm_that_hears_nothing_any_more_holds_and_is_not_enabled(arm, monkeypatch):
    arm.moving()
    monkeypatch.setattr(arm.node._inlet, 'silent', lambda: 'no message could be taken')
    arm.run(1.0)
    assert arm.state == Status.STATE_HOLDING
    assert arm.status[-1].reason == 'no message could be taken'
    assert arm.speed() < 1e-9
    arm.chunks.publish(arm.make_chunk())
    arm.run(0.3)
    assert arm.state == Status.STATE_HOLDING
    assert arm.enable().message == 'no message could be taken'


def test_a_status_that_nobody_publishes_any_more_is_an_error(arm):
    arm.locate()
    arm.node._beside.late = lambda: 'hangs'
    arm.run(0.05)
    assert arm.node.health.message('beside') == 'hangs'


def test_stop_brakes_and_is_latched(arm):
    arm.moving()
    assert arm.stop().success
    arm.run(0.2)
    assert arm.speed() == pytest.approx(0)
    assert arm.state == Status.STATE_STOPPED
    assert not arm.enable().success
    assert 'until reset_stop' in arm.enable(False).message
    assert not arm.enable().success
    assert arm.state == Status.STATE_STOPPED


def test_stop_is_cleared_by_its_own_service_and_leaves_the_robot_disabled(graph, arm):
    arm.moving()
    refused = graph.call(Trigger, 'controller/reset_stop')
    assert not refused.success
    assert 'not stopped' in refused.message
    assert arm.stop().success
    early = graph.call(Trigger, 'controller/reset_stop')
    assert not early.success
    assert 'still brakes' in early.message
    assert arm.state == Status.STATE_STOPPED
    arm.run(0.2)
    assert graph.call(Trigger, 'controller/reset_stop').success
    assert arm.state == Status.STATE_DISABLED
    count = len(arm.commands)
    arm.chunks.publish(arm.make_chunk())
    arm.run(0.1)
    assert len(arm.commands) == count, 'it does not go on by itself'
    assert arm.enable().success
    assert arm.state == Status.STATE_WAITING


@pytest.mark.parametrize('service', ['stop', 'pause'])
def test_first_decelerating_command_does_not_wait_for_the_next_tick(graph, arm, service):
    arm.moving()
    before = arm.speed()
    count = len(arm.commands)
    graph.set_time(graph.now + 0.003)
    if service == 'stop':
        assert arm.stop().success
    else:
        assert graph.call(SetBool, 'controller/pause', data=True).success
    graph.until(lambda: len(arm.commands) > count)
    first = arm.commands[count]
    assert stamp_to_seconds(first.header.stamp) == pytest.approx(graph.now)
    assert abs(first.velocity[1]) < before
    arm.run(0.2)
    assert arm.speed() == pytest.approx(0)


def test_pause_brakes_holds_and_goes_on_without_a_jump(graph, arm):
    arm.moving()
    assert graph.call(SetBool, 'controller/pause', data=True).success
    arm.run(0.3)
    assert arm.state == Status.STATE_PAUSED
    assert arm.speed() == pytest.approx(0)
    held = arm.position.copy()
    arm.chunks.publish(arm.make_chunk())
    arm.run(0.2)
    assert np.array_equal(arm.position, held), 'chunks do not end a pause'
    assert arm.state == Status.STATE_PAUSED
    assert graph.call(SetBool, 'controller/pause', data=False).success
    arm.send_chunk()
    arm.run(0.4)
    assert arm.state == Status.STATE_TRACKING
    assert arm.position[1] > held[1] + 0.02
    steps = np.abs(np.diff([c.position[1] for c in arm.commands]))
    assert steps.max() < 0.8 * 0.01 + 1e-6


def test_robot_moved_in_a_pause_stays_paused_and_goes_on_from_where_it_is(graph, arm):
    arm.moving()
    assert graph.call(SetBool, 'controller/pause', data=True).success
    arm.run(0.3)
    arm.position = np.array([0.3, 0.4, 0.1])
    arm.states.publish(graph.state(arm.position))
    graph.until(lambda: arm.node._command[0] == pytest.approx(0.3))
    arm.run(0.1)
    assert arm.state == Status.STATE_PAUSED
    assert graph.call(SetBool, 'controller/pause', data=False).success
    arm.run(0.05)
    assert arm.commands[-1].position[:3] == pytest.approx([0.3, 0.4, 0.1])
    assert arm.state == Status.STATE_WAITING


def test_pause_of_a_controller_that_is_not_enabled_is_refused(graph, arm):
    arm.locate()
    response = graph.call(SetBool, 'controller/pause', data=True)
    assert not response.success
    assert 'only an enabled one can pause' in response.message
    assert arm.state == Status.STATE_DISABLED
    assert 'not paused' in graph.call(SetBool, 'controller/pause', data=False).message


def test_disabling_brakes_and_then_sends_nothing_more(arm):
    arm.moving()
    assert arm.enable(False).success
    arm.run(0.25)
    assert arm.speed() == pytest.approx(0)
    count = len(arm.commands)
    arm.run(0.1)
    assert len(arm.commands) == count


def test_deactivating_brakes_before_the_publisher_falls_silent(graph, arm):
    arm.moving()
    arm.node.trigger_deactivate()
    graph.until(lambda: arm.speed() < 1e-6)
    steps = np.abs(np.diff([c.position[1] for c in arm.commands]))
    assert steps.max() < 0.8 * 0.01 + 1e-6


def test_clock_that_jumps_back_stops_the_robot(graph, arm):
    arm.moving()
    graph.set_time(50.0)
    arm.run(0.3)
    assert arm.speed() == pytest.approx(0)
    assert arm.state == Status.STATE_HOLDING
    arm.send_chunk()
    arm.run(0.2)
    assert arm.state == Status.STATE_TRACKING


def test_simulation_that_begins_anew_is_taken_over_from_where_it_is(graph, arm):
    arm.moving()
    arm.run(1.0)
    arm.silent = True
    arm.success.publish(Bool(data=False))
    graph.until(lambda: math.isfinite(arm.node._watch._noticed))
    graph.set_time(0.02)
    arm.run(0.05)
    say_twice(arm, (0.3, 0.4, 0.1))
    graph.until(lambda: arm.node._command[0] == pytest.approx(0.3))


def test_robot_that_is_silent_since_the_clock_jumped_back_is_not_enabled(graph, arm):
    arm.locate()
    graph.set_time(20.0)
    arm.run(1.5)
    refused = arm.enable()
    assert not refused.success
    assert 'state_timeout' in refused.message


def test_robot_moved_while_disabled_is_taken_over_from_where_it_is(graph, arm):
    arm.moving()
    arm.enable(False)
    arm.run(0.3)
    arm.position = np.array([0.3, 0.4, 0.1])
    arm.states.publish(graph.state(arm.position))
    graph.until(lambda: arm.node._command[0] == pytest.approx(0.3))
    assert arm.enable().success
    arm.run(0.05)
    assert arm.commands[-1].position[:3] == pytest.approx([0.3, 0.4, 0.1])


def test_small_move_while_disabled_makes_no_step_when_enabled(graph, arm):
    arm.locate()
    arm.position = np.array([0.0, 0.615, 0.2])
    arm.states.publish(graph.state(arm.position))
    graph.until(lambda: arm.node._watch.reported[1] == pytest.approx(0.615))
    assert arm.enable().success
    arm.run(0.05)
    assert arm.commands[0].position[:3] == pytest.approx([0.0, 0.615, 0.2])


def test_enabled_before_the_robot_told_of_its_reset_follows_the_robot(graph, arm):
    arm.locate()
    assert arm.enable().success
    arm.states.publish(graph.state((0.0, 0.615, 0.2)))
    graph.until(lambda: arm.node._command[1] == pytest.approx(0.615))
    arm.run(0.05)
    assert arm.commands[-1].position[1] == pytest.approx(0.615)


def test_new_episode_while_enabled_starts_from_the_new_place(graph, arm):
    arm.moving()
    arm.success.publish(Bool(data=False))
    graph.until(lambda: math.isfinite(arm.node._watch._noticed))
    arm.silent = True
    say_twice(arm, (0.3, 0.4, 0.1))
    graph.until(lambda: arm.state == Status.STATE_WAITING)
    arm.run(0.05)
    assert arm.commands[-1].position[:3] == pytest.approx([0.3, 0.4, 0.1])


def say_twice(arm, place):
    """Report a place in two states: one alone is not believed."""
    for _ in range(2):
        arm.states.publish(arm.graph.state(place))
        arm.run(0.01)


def test_one_wrong_state_after_an_episode_began_moves_nothing(graph, arm):
    arm.moving()
    arm.success.publish(Bool(data=False))
    graph.until(lambda: math.isfinite(arm.node._watch._noticed))
    last = arm.position.copy()
    arm.states.publish(graph.state(last + [0.0, 0.4, 0.0]))
    arm.run(0.03)
    assert np.abs(arm.position - last).max() < 0.02
    assert arm.state == Status.STATE_TRACKING


def test_what_the_robot_said_while_the_controller_was_inactive_is_known_at_its_start(graph):
    arm = Arm(graph, state_timeout=0.0)
    arm.moving()
    arm.enable(False)
    arm.run(0.5)
    arm.silent = True
    arm.node.trigger_deactivate()
    there = arm.position - [0.0, 0.25, 0.0]
    say_twice(arm, there)
    arm.node.trigger_activate()
    count = len(arm.commands)
    assert arm.enable().success
    arm.run(0.05)
    assert arm.commands[count].position[:3] == pytest.approx(there)


def test_a_controller_that_is_configured_anew_knows_nothing_of_the_gripper(graph, arm):
    arm.moving()
    assert arm.node._effort == -1.0
    arm.enable(False)
    arm.run(0.3)
    arm.node.trigger_deactivate()
    arm.node.trigger_cleanup()
    assert arm.node._effort == 0.0


def test_a_chunk_from_before_a_stop_moves_nothing_after_it(graph):
    arm = Arm(graph, watchdog__chunk_timeout=5.0)
    arm.locate()
    arm.enable()
    chunk = arm.make_chunk()
    arm.send_chunk(chunk)
    arm.run(0.15)
    arm.stop()
    arm.run(0.15)
    place = arm.position.copy()
    arm.reset_stop()
    assert arm.enable().success
    arm.send_chunk(chunk)
    arm.run(0.3)
    assert np.abs(arm.position - place).max() < 1e-9
    assert 'before the last reset or stop' in arm.node.health.message('chunk')
    arm.send_chunk()
    arm.run(0.3)
    assert arm.position[1] > place[1]


def test_set_point_that_jumps_without_notice_is_not_followed(graph, arm):
    arm.moving()
    last = arm.position.copy()
    arm.states.publish(graph.state((0.3, 0.4, 0.1)))
    arm.run(0.02)
    assert np.abs(arm.position - last).max() < 0.02


def test_state_without_set_point_anchors_at_the_position(graph, arm):
    message = JointState(name=['x', 'y', 'z', 'gripper'], position=[0.1, 0.2, 0.3, 1.0])
    message.header.stamp = seconds_to_stamp(graph.now)
    arm.states.publish(message)
    graph.until(lambda: arm.node._watch.reported is not None)
    assert 'believed after' in arm.enable().message
    graph.run(0.25)
    assert arm.enable().success
    arm.run(0.05)
    assert arm.commands[-1].position[:3] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    'message',
    [
        JointState(name=['x', 'y', 'z'], position=[0.1, math.nan, 0.3]),
        JointState(name=['x', 'y'], position=[0.1, 0.2]),
        JointState(),
    ],
)
def test_bad_state_anchors_nothing(graph, arm, message):
    arm.states.publish(message)
    rules = ('robot_state', 'no robot_state')
    graph.until(lambda: any(map(arm.node.health.message, rules)))
    assert arm.node._command is None
    assert not arm.enable().success


def test_limits_that_do_not_fit_the_robot_fail_at_configure(graph):
    node = graph.add(ControllerNode, start=False, limits__max_velocity=[0.1, 0.2])
    assert not node.autostart()
    assert 'limits' in node.health.status('', {}).message


def test_status_tells_period_and_ages(graph, arm):
    arm.moving()
    arm.run(0.1)
    count = len(arm.status)
    arm.node._telling.publish(graph.now)
    graph.until(lambda: len(arm.status) > count)
    status = arm.status[-1]
    assert status.chunk_age_s == pytest.approx(0.4, abs=0.02)
    assert status.period_ms > 0
    assert status.max_jerk > 0


def test_first_command_of_a_chunk_is_reported_with_its_age(graph, arm):
    stats = graph.hear(msg.EfficiencyStats, 'efficiency', report_qos())
    graph.until(arm.node._efficiency.get_subscription_count)
    arm.moving()
    assert len(stats) == 1
    assert stats[0].stage == msg.EfficiencyStats.STAGE_CONTROLLER
    assert stats[0].age_ms == pytest.approx(10, abs=1)
    assert math.isnan(stats[0].transport_ms), 'the sender did not say when it sent'
    chunk = arm.make_chunk()
    chunk.sent = seconds_to_stamp(graph.now - 0.004)
    arm.send_chunk(chunk)
    arm.run(0.02)
    assert stats[1].transport_ms == pytest.approx(4, abs=0.1)


def test_limits_that_do_not_fit_are_refused_at_run_time_and_block_nothing(arm):
    core = arm.node._controller
    refused = arm.node.set_parameters([Parameter('limits.max_velocity', value=[0.1, 0.1])])[0]
    assert not refused.successful
    assert 'limits.max_velocity has 2 values' in refused.reason
    assert arm.state == Status.STATE_DISABLED
    assert arm.node.set_parameters([Parameter('watchdog.chunk_timeout', value=0.1)])[0].successful
    assert core.settings.watchdog.chunk_timeout == 0.1


def test_robot_holds_what_it_holds_when_others_move_it_and_over_a_deactivation(graph, arm):
    arm.moving()
    assert arm.commands[-1].position[3] == -1.0
    arm.enable(False)
    arm.run(0.3)
    arm.states.publish(graph.state((0.3, 0.4, 0.1)))
    graph.until(lambda: arm.node._command[0] == pytest.approx(0.3))
    assert arm.enable().success
    arm.run(0.05)
    assert arm.commands[-1].position[3] == -1.0
    arm.node.trigger_deactivate()
    arm.node.trigger_activate()
    arm.locate()
    assert arm.enable().success
    arm.run(0.05)
    assert arm.commands[-1].position[3] == -1.0


def test_robot_that_lags_is_no_new_episode_in_mid_motion(graph, arm):
    arm.moving()
    arm.success.publish(Bool(data=False))
    graph.until(lambda: math.isfinite(arm.node._watch._noticed))
    behind = [arm.position[0], arm.position[1] - 0.04, arm.position[2], 1.0]
    message = JointState(name=['x', 'y', 'z', 'gripper'], position=behind)
    message.header.stamp = seconds_to_stamp(graph.now)
    arm.states.publish(message)
    graph.until(lambda: not arm.node._watch.exact)
    assert arm.state == Status.STATE_TRACKING
    assert arm.node._command[1] == pytest.approx(arm.position[1])


def test_robot_that_fell_silent_is_not_enabled(graph, arm):
    arm.locate()
    arm.run(1.1)
    refused = arm.enable()
    assert not refused.success
    assert 'state_timeout 1.0 s' in refused.message
    arm.states.publish(graph.state((0.0, 0.9, 0.2)))
    graph.until(lambda: arm.node._command[1] == pytest.approx(0.9))
    assert arm.enable().success
    arm.run(0.05)
    assert arm.commands[-1].position[1] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ('place', 'why'), [((0.0, 0.6, math.nan), 'not finite'), ((0.0, 600.0, 0.2), 'y is at 600;')]
)
def test_robot_whose_states_are_refused_is_said_to_be_so_and_not_to_be_silent(
    graph, arm, place, why
):
    arm.states.publish(graph.state(place))
    graph.until(lambda: arm.node.health.message('robot_state'))
    refused = arm.enable()
    assert not refused.success
    assert why in refused.message
    arm.moving()
    arm.silent = True
    for _ in range(12):
        arm.chunks.publish(arm.make_chunk())
        arm.states.publish(graph.state(place))
        arm.run(0.1)
    assert {s.reason for s in arm.status if 'old by its stamp' in s.reason} == set()
    arm.run(0.2)
    assert arm.speed() == pytest.approx(0)
    said = [arm.status[-1].reason, arm.node.health.message('liveliness'), arm.enable().message]
    said.append(arm.node._watch.silent(graph.now, 1.0))
    for text in filter(None, said):
        assert why in text
        assert 'running' not in text
    arm.run(1.1)
    assert 'Is the robot running' in arm.node._watch.silent(graph.now, 1.0)


def test_a_stage_on_another_host_is_not_watched_for_its_death(graph):
    arm = Arm(graph, remote_nodes=['reasoner'])
    assert {'perception', 'actor'} <= set(arm.node._liveliness.alive)
    assert 'reasoner' not in arm.node._liveliness.alive


def test_only_stages_can_be_on_another_host():
    with pytest.raises(InvalidSettingError, match=r'remote_nodes .* some of perception, reasoner'):
        build(ControllerNodeSettings, {'remote_nodes': ('metaworld_robot',)})


def test_controller_brakes_when_the_robot_falls_silent(arm):
    arm.moving()
    arm.silent = True
    for _ in range(12):
        arm.chunks.publish(arm.make_chunk())
        arm.run(0.1)
    assert arm.state in (Status.STATE_DECELERATING, Status.STATE_HOLDING)
    arm.run(0.2)
    assert arm.speed() == pytest.approx(0)
    assert 'state_timeout' in arm.status[-1].reason
    arm.silent = False
    arm.locate()
    arm.send_chunk()
    arm.run(0.1)
    assert arm.state == Status.STATE_TRACKING


def test_robot_without_an_axis_is_refused(graph):
    node = graph.add(ControllerNode, start=False, names=['gripper'])
    assert not node.autostart()
    assert 'expected an axis' in node.health.status('', {}).message


def test_one_wrong_state_of_a_robot_that_waits_is_not_followed(graph, arm):
    arm.locate()
    assert arm.enable().success
    arm.run(0.3)
    place = arm.commands[-1].position[0]
    arm.silent = True
    arm.states.publish(graph.state(np.array(HOME) + [0.3, 0.0, 0.0]))
    arm.run(0.1)
    arm.silent = False
    arm.run(0.5)
    assert arm.state == Status.STATE_WAITING
    assert {command.position[0] for command in arm.commands} == {place}
