# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the driver of an arm says back: the arm rests, or goes on as documented; nothing is lost."""

import numpy as np
import pytest
from nodes.arm import SPEED, Status
from nodes.driven_arm import HOME, DrivenArm
from std_srvs.srv import Trigger


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


def test_a_driver_that_was_restarted_goes_on_from_where_the_arm_is(arm):
    arm.moving()
    arm.end_driver()
    arm.drive(0.9)
    assert arm.state in (Status.STATE_DECELERATING, Status.STATE_HOLDING)
    # It is named by what falls silent first: its joints are part of it.
    assert 'silent' in arm.status[-1].reason
    arm.place += [0.04, -0.03]
    arm.start_driver()
    arm.connected()
    count = len(arm.path)
    arm.run(0.5)
    assert np.ptp(arm.path[count:], axis=0).max() < 1e-9, 'it is not pulled to the old place'
    arm.drive(0.5)
    assert arm.state == Status.STATE_TRACKING
    assert arm.speed() > 0.5 * SPEED
    assert np.abs(np.diff(arm.path[count:], axis=0)).max() < 2 * SPEED * 0.01


def test_a_joint_that_is_blocked_stops_the_whole_arm(arm):
    arm.moving()
    arm.blocked[1] = True
    place = arm.place.copy()
    arm.drive(1.0)
    assert arm.state == Status.STATE_STOPPED
    assert 'robot is 0.1' in arm.status[-1].reason
    arm.run(0.3)
    assert arm.speed() == 0
    assert arm.place[0] - place[0] < 0.15
    # What blocks it is not pressed on.
    assert arm.node._command[1] == pytest.approx(place[1], abs=0.02)


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
