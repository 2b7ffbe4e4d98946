# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the driver of an arm says back: the arm rests, or goes on as documented; nothing is lost."""

import numpy as np
import pytest
from control_msgs.msg import JointTrajectoryControllerState
from nodes.arm import SPEED, Status
from nodes.driven_arm import HOME, DrivenArm
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from efficient_vla.nodes.base.qos import newest_qos, report_qos
from efficient_vla.nodes.controller.messages import received


@pytest.fixture
def arm(graph):
    return DrivenArm(graph)


def test_the_arm_follows_chunks_through_its_driver(arm):
    arm.moving()
    assert arm.state == Status.STATE_TRACKING
    assert arm.speed() == pytest.approx(SPEED, rel=0.05)
    arm.drive(0.5)
    assert arm.place[0] - HOME[0] == pytest.approx(HOME[1] - arm.place[1], abs=1e-6)
    ahead = arm.node._command - arm.place
    assert np.abs(ahead).max() < 4 * 0.01 * SPEED


def test_a_protective_stop_ends_motion_until_a_person_released_it(graph, arm):
    arm.moving()
    assert graph.call(Trigger, 'driver/protective_stop').success
    arm.drive(0.5)
    assert arm.state == Status.STATE_STOPPED
    assert 'robot_program_running says that the program' in arm.status[-1].reason
    assert arm.speed() == 0
    place = arm.place.copy()
    assert arm.reset_stop().success
    assert 'protective stop' in arm.enable().message
    assert graph.call(Trigger, 'dashboard_client/unlock_protective_stop').success
    assert graph.call(Trigger, 'io_and_status_controller/resend_robot_program').success
    arm.run(0.6)
    assert arm.place == pytest.approx(place, abs=1e-9)
    response = arm.enable()
    assert response.success, response.message
    count = len(arm.path)
    arm.drive(0.4)
    assert arm.speed() == pytest.approx(SPEED, rel=0.05)
    steps = np.abs(np.diff(arm.path[count - 1 :], axis=0))
    assert steps.max() < 2 * SPEED * 0.01, 'no leap'


def test_a_speed_slider_slows_motion_along_its_path(arm):
    arm.moving()
    arm.stand_in.program.speed = 0.3
    arm.drive(1.0)
    assert arm.state == Status.STATE_TRACKING
    assert arm.speed() == pytest.approx(0.3 * SPEED, rel=0.05)
    assert arm.status[-1].time_scale == pytest.approx(0.3, abs=0.01)
    assert np.abs(arm.node._command - arm.place).max() < 0.02
    arm.stand_in.program.speed = 1.0
    arm.drive(0.6)
    assert arm.speed() == pytest.approx(SPEED, rel=0.05)
    # Along the path: both joints have gone as far.
    assert arm.place[0] - HOME[0] == pytest.approx(HOME[1] - arm.place[1], abs=1e-6)


def test_a_speed_slider_at_nothing_holds_the_arm_until_it_is_raised(arm):
    arm.moving()
    arm.stand_in.program.speed = 0.0
    arm.drive(0.5)
    assert arm.state == Status.STATE_HOLDING
    assert 'Raise its speed slider' in arm.status[-1].reason
    assert arm.speed() < 1e-9
    arm.stand_in.program.speed = 1.0
    arm.drive(0.6)
    assert arm.state == Status.STATE_TRACKING
    assert arm.speed() == pytest.approx(SPEED, rel=0.05)


def test_a_chunk_that_comes_as_the_slider_is_raised_is_followed(arm):
    arm.moving()
    arm.stand_in.program.speed = 0.0
    arm.drive(0.5)
    # Heard before the loop ticks again.
    arm.node._feedback.share = 1.0
    arm.node._chunk_received(received(arm.make_chunk()), arm.node._source._publisher)
    assert arm.state == Status.STATE_TRACKING
    assert np.isfinite(arm.node._controller.report(arm.graph.now).remaining)


def test_two_drivers_at_once_hold_the_arm_and_are_named(graph, arm):
    arm.moving()
    topic = 'joint_trajectory_controller/controller_state'
    other = graph.publisher(JointTrajectoryControllerState, topic, report_qos())
    count = len(arm.path)

    def both(seconds):
        for step in range(round(seconds / 0.01)):
            if step % 10 == 0:
                arm.chunks.publish(arm.make_chunk())
            other.publish(arm.stand_in.trajectories._report(graph.now))
            arm.run(0.01)

    both(0.6)
    assert arm.state == Status.STATE_HOLDING
    assert f'both publish {topic}' in arm.status[-1].reason
    assert '/peer' in arm.status[-1].reason
    assert np.ptp(arm.path[count + 30 :], axis=0).max() < 1e-9
    arm.drive(2.0)
    assert arm.state == Status.STATE_TRACKING, 'goes on once there is one'


def test_a_driver_that_rejects_trajectories_stops_the_arm_and_is_named(arm):
    arm.moving()
    arm.stand_in.trajectories.controller.refuse = lambda path, now: 'its hardware is in error'
    arm.drive(0.6)
    assert arm.state == Status.STATE_STOPPED
    reason = arm.status[-1].reason
    assert 'joint_trajectory_controller goes to' in reason
    assert 'It rejected or gave up the trajectory' in reason
    assert arm.speed() == 0
    ahead = np.abs(arm.node._command - arm.place).max()
    assert ahead < 0.3 * SPEED, 'the set-point was not left far ahead'
    del arm.stand_in.trajectories.controller.refuse
    arm.run(0.3)
    assert arm.reset_stop().success
    response = arm.enable()
    assert response.success, response.message
    arm.drive(0.5)
    assert arm.state == Status.STATE_TRACKING


@pytest.mark.parametrize('fault', ['rejects', 'protective stop'])
def test_an_arm_whose_driver_gave_up_is_started_from_where_it_is(graph, fault):
    # An arm that lags and sags as far.
    arm = DrivenArm(graph, stop_tolerance=0.2, reset_distance=[0.2], following_error=0.3)
    arm.moving()
    controller = arm.stand_in.trajectories.controller
    if fault == 'rejects':
        controller.refuse = lambda path, now: 'its hardware is in error'
        for _ in range(60):
            arm.drive(0.1)
            if arm.state == Status.STATE_STOPPED:
                break
        arm.run(0.12)
        # What it gave up it is not told again.
        del controller.refuse
    else:
        assert graph.call(Trigger, 'driver/protective_stop').success
        arm.drive(0.3)
        assert graph.call(Trigger, 'dashboard_client/unlock_protective_stop').success
        assert graph.call(Trigger, 'io_and_status_controller/resend_robot_program').success
    arm.run(0.3)
    assert arm.state == Status.STATE_STOPPED
    assert np.abs(arm.node._command - arm.place).max() > 0.005, 'it is left ahead'
    assert arm.reset_stop().success
    response = arm.enable()
    assert response.success, response.message
    assert arm.node._command == pytest.approx(arm.place, abs=1e-6)


def test_a_driver_that_was_restarted_goes_on_from_where_the_arm_is(arm):
    arm.moving()
    arm.end_driver()
    arm.drive(0.9)
    assert arm.state in (Status.STATE_DECELERATING, Status.STATE_HOLDING)
    # It is named by what falls silent first: its joints are part of it.
    assert 'silent' in arm.status[-1].reason
    count = arm.start_driver_elsewhere()
    arm.drive(0.5)
    assert arm.state == Status.STATE_TRACKING
    assert arm.speed() > 0.5 * SPEED
    assert np.abs(np.diff(arm.path[count:], axis=0)).max() < 2 * SPEED * 0.01


@pytest.mark.parametrize('hears', [True, False])
def test_a_driver_that_takes_no_trajectories_yet_is_waited_for(graph, hears):
    arm = DrivenArm(graph, driver__tolerance=0.3)
    arm.moving()
    arm.end_driver()
    arm.drive(0.9)
    arm.start_driver_elsewhere()
    driver, place = arm.stand_in.trajectories, arm.place.copy()
    arm.process.destroy_subscription(driver._commands)
    furthest, said = 0.0, ''
    for _ in range(30 if hears else 150):
        arm.drive(0.1)
        furthest = max(furthest, np.abs(arm.node._command - place).max())
        said = arm.node.health.message('liveliness') or said
        if arm.state == Status.STATE_STOPPED:
            break
    assert 'It takes no trajectories yet; it is tried again' in said
    assert furthest < 0.1
    assert (arm.state == Status.STATE_STOPPED) == (not hears)
    assert 'expected at most 0.03 before it moves. It takes' in said
    if not hears:
        reason = arm.status[-1].reason
        assert 'expected at most 0.03 before it moves. It rejected or gave up' in reason
        return
    count = len(arm.path)
    topic = f'{arm.driver.controller}/joint_trajectory'
    driver._commands = arm.process.create_subscription(
        JointTrajectory, topic, driver._take, newest_qos()
    )
    graph.until(lambda: arm.process.count_publishers(topic))
    arm.drive(1.5)
    assert arm.state == Status.STATE_TRACKING
    assert arm.speed() == pytest.approx(SPEED, rel=0.05)
    leap = np.abs(np.diff(arm.path[count:], axis=0)).max()
    assert leap < furthest, 'it was not let far behind'


@pytest.mark.parametrize('killed', [True, False])
def test_what_a_driver_said_once_does_not_hold_for_the_one_after_it(graph, monkeypatch, killed):
    others = {} if killed else {'driver__observe_controller': False, 'driver__speed_scaling': ''}
    arm = DrivenArm(graph, **others)
    if killed:
        # It stays in the graph for a while.
        monkeypatch.setattr(arm.node._feedback, 'look', lambda: None)
    arm.moving()
    arm.end_driver()
    arm.drive(0.9)
    arm.node.look()
    arm.start_driver()
    arm.stand_in.program._told = True
    arm.connected()
    place = arm.place.copy()
    arm.drive(0.6)
    assert arm.state == Status.STATE_HOLDING
    said = arm.node.health.message('liveliness')
    assert 'robot_program_running has been silent since the driver' in said
    assert arm.place == pytest.approx(place, abs=1e-9)
    arm.stand_in.program._told = None
    arm.run(0.1)
    arm.drive(0.5)
    assert arm.state == Status.STATE_TRACKING


@pytest.mark.parametrize('observed', [True, False])
def test_a_joint_without_an_end_is_not_turned_to_the_count_of_before(graph, observed):
    arm = DrivenArm(graph, continuous=['shoulder'], driver__observe_controller=observed)
    arm.place = np.array([3.1, -0.5])
    arm.moving()
    arm.drive(0.3)
    assert arm.place[0] > np.pi
    arm.end_driver()
    arm.drive(0.9)
    # The driver counts anew from where its encoder says that it is.
    arm.place[0] -= 2 * np.pi
    count = len(arm.path)
    arm.start_driver()
    arm.connected()
    arm.run(0.5)
    arm.drive(0.5)
    assert arm.state == Status.STATE_TRACKING
    assert np.abs(np.diff(arm.path[count:], axis=0)).max() < 2 * SPEED * 0.01


@pytest.mark.parametrize('delay', [0.03, 0.25])
def test_a_joint_that_is_blocked_stops_the_whole_arm(graph, delay):
    arm = DrivenArm(graph, robot_delay=delay)
    arm.moving()
    arm.blocked[1] = True
    place = arm.place.copy()
    arm.drive(0.6 + delay)
    assert arm.state == Status.STATE_STOPPED
    assert 'robot is 0.1' in arm.status[-1].reason
    arm.run(0.3)
    assert arm.speed() == 0
    assert arm.place[0] - place[0] < 0.15 + delay * SPEED
    # What blocks it is not pressed on.
    assert arm.node._command[1] == pytest.approx(place[1], abs=0.02)


@pytest.mark.parametrize('lost', ['trajectories', 'states'])
def test_a_blocked_joint_is_not_pressed_on_though_messages_are_lost_as_it_stops(graph, lost):
    arm = DrivenArm(graph)
    arm.moving()
    arm.blocked[1] = True
    driver, watch = arm.stand_in.trajectories.controller, arm.node._watch
    for _ in range(100):
        arm.chunks.publish(arm.make_chunk())
        if lost == 'states':
            watch.leapt = graph.now
        arm.run(0.01)
        if arm.state == Status.STATE_STOPPED:
            break
    if lost == 'trajectories':
        driver.follow = lambda *words: None
    arm.run(0.3)
    vars(driver).pop('follow', None)
    arm.run(0.8)
    pressed = driver.report().reference.position[1] - arm.place[1]
    assert pressed == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize('output', ['joint_trajectory', 'forward'])
def test_an_arm_at_rest_that_is_disabled_is_told_no_place_that_others_would_move_it_from(
    graph, output
):
    kind = {'joint_trajectory': JointTrajectory, 'forward': Float64MultiArray}[output]
    topic = {
        'joint_trajectory': 'joint_trajectory_controller/joint_trajectory',
        'forward': 'forward_command_controller/commands',
    }[output]
    heard = graph.hear(kind, topic, report_qos())
    arm = DrivenArm(graph, output=output)
    arm.moving()
    assert heard
    assert arm.enable(False).success
    for _ in range(100):
        arm.run(0.01)
        if arm.node.at_rest:
            break
    count = len(heard)
    arm.run(0.4)
    assert len(heard) <= count + 1


def test_one_message_of_five_that_is_lost_is_no_matter(graph):
    arm = DrivenArm(graph, driver__lead=6, robot_delay=0.07)
    rng = np.random.default_rng(5)
    driver, controller = arm.stand_in.trajectories.controller, arm.node
    follow, hear = driver.follow, controller._watch.read
    driver.follow = lambda *words: None if rng.random() < 0.2 else follow(*words)
    controller._watch.read = lambda *words: None if rng.random() < 0.2 else hear(*words)
    arm.moving()
    count = len(arm.path)
    arm.drive(1.0)
    assert arm.state == Status.STATE_TRACKING
    speeds = np.diff(np.array(arm.path[count:])[:, 0]) / 0.01
    assert speeds.mean() == pytest.approx(SPEED, rel=0.03), 'nothing of the way is lost'
    assert speeds.min() > 0.8 * SPEED
    assert speeds.max() < 1.2 * SPEED


@pytest.mark.parametrize('step', [0.3, -5.0])
def test_a_clock_that_is_set_makes_no_leap(graph, arm, step):
    arm.moving()
    count = len(arm.path)
    graph.set_time(graph.now + step)
    arm.drive(0.8)
    assert arm.state == Status.STATE_TRACKING
    assert arm.speed() == pytest.approx(SPEED, rel=0.1)
    steps = np.abs(np.diff(arm.path[count:], axis=0))
    assert steps.max() < 2 * SPEED * 0.01
