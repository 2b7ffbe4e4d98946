# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Goals of the arm and of the gripper, and what their results lead to."""

from dataclasses import replace

import numpy as np
import pytest
from nodes.arm import SPEED, Status
from nodes.driven_arm import DRIVER, FINGER, HOME, DrivenArm

from efficient_vla.nodes.controller.outputs import gripper
from efficient_vla.nodes.controller.outputs.joint_trajectory import _apart
from efficient_vla.nodes.robot.drivers.grippers import GripperDriver

GRIPPING = replace(DRIVER, gripper_joint=FINGER, gripper_limits=(-0.01, 0.8))
LIMITS = {'limits__position_low': [-3.0, -3.0, 0.0], 'limits__position_high': [3.0, 3.0, 0.8]}
GOALS = {'output': 'follow_joint_trajectory', 'robot_delay': 0.14}


def goals(arm):
    """Return the list of goals that the arm's controller takes up from now on."""
    taken, controller = [], arm.stand_in.trajectories.controller
    follow = controller.follow
    controller.follow = lambda path, *rest: (taken.append(path), follow(path, *rest))
    return taken


def test_goals_that_replace_one_another_are_one_motion(graph):
    arm = DrivenArm(graph, **GOALS)
    taken = goals(arm)
    arm.moving()
    count = len(arm.path)
    arm.drive(0.6)
    assert arm.state == Status.STATE_TRACKING
    assert 8 <= len(taken) <= 12, 'ten a second'
    steps = np.diff(np.array(arm.path[count:])[:, 0]) / 0.01
    assert steps.min() > 0.8 * SPEED, 'no stop between two goals'
    assert np.abs(np.diff(steps)).max() < 0.05
    late = arm.node._output.covers
    assert late == pytest.approx(0.1 + 2 * 0.01)
    assert arm.node._command[0] - arm.place[0] == pytest.approx(SPEED * (late - 0.01), abs=0.003)


def test_the_last_goal_ends_at_rest_where_the_set_point_is(graph):
    arm = DrivenArm(graph, **GOALS)
    taken = goals(arm)
    arm.moving()
    assert arm.enable(False).success
    arm.run(0.6)
    assert arm.place == pytest.approx(arm.node._command, abs=1e-6)
    count = len(taken)
    arm.run(0.5)
    assert len(taken) == count, 'a robot that stands gets no goals'


def test_a_goal_that_is_rejected_stops_and_is_named(graph):
    wide = replace(DRIVER, joints=('shoulder', 'wrist'))
    arm = DrivenArm(graph, **GOALS, driver__observe_controller=False)
    arm.moving()
    arm.stand_in.trajectories.controller.joints = wide.joints
    arm.drive(0.3)
    assert arm.state == Status.STATE_STOPPED
    assert 'follow_joint_trajectory rejected a goal' in arm.status[-1].reason


def test_a_tolerance_that_ends_a_goal_stops_and_is_named(graph):
    arm = DrivenArm(graph, replace(DRIVER, path_tolerance=0.02), **GOALS)
    arm.moving()
    place = arm.place.copy()
    arm.blocked[1] = True
    arm.drive(0.4)
    assert arm.state == Status.STATE_STOPPED
    assert 'PATH_TOLERANCE_VIOLATED' in arm.status[-1].reason
    assert np.abs(arm.place - place).max() < 0.08
    assert arm.speed() == 0


def test_a_driver_of_goals_that_was_started_anew_goes_on_from_where_the_arm_is(graph):
    arm = DrivenArm(graph, **GOALS, driver__observe_controller=False)
    arm.moving()
    arm.end_driver()
    arm.drive(0.6)
    assert arm.state == Status.STATE_HOLDING
    assert 'nobody offers the action' in arm.status[-1].reason
    assert 'nobody offers the action' in arm.enable().message
    arm.start_driver_elsewhere()
    arm.drive(0.6)
    assert arm.state == Status.STATE_TRACKING
    assert arm.speed() > 0.5 * SPEED


def test_points_of_a_stop_are_apart_and_the_last_one_rests():
    states = np.arange(15.0).reshape(5, 3, 1)
    for end, kept in ((0.1, [0, 1, 2, 3, 4]), (2e-5, [0, 4]), (1e-12, [4])):
        times, found = _apart(np.linspace(0.0, end, 5), states)
        np.testing.assert_array_equal(found, states[kept])
        assert times[0] == 0
        assert (np.diff(times) >= 1e-5).all()
    times, found = _apart(np.zeros(1), states[:1])
    assert (times.tolist(), len(found)) == ([0.0], 1)


@pytest.fixture(params=[False, True], ids=['gripper_command', 'parallel_gripper'])
def gripping(graph, request):
    kind = 'parallel_gripper' if request.param else 'gripper_command'
    return DrivenArm(
        graph,
        replace(GRIPPING, gripper_parallel=request.param),
        gripper_interface=kind,
        gripper_joint=FINGER,
        **LIMITS,
    )


def test_the_gripper_gets_a_goal_where_it_is_to_move_and_none_before(gripping):
    arm = gripping
    arm.moving()
    assert not arm.stand_in.gripper.commanded
    assert arm.place[0] > HOME[0]
    arm.finger_speed = 0.5
    arm.drive(0.5)
    assert 0.1 < arm.place[2] < 0.3
    arm.finger_speed = 0.0
    arm.drive(0.3)
    assert arm.place[2] == pytest.approx(arm.node._command[2], abs=0.03)
    assert arm.state == Status.STATE_TRACKING


def test_the_gripper_gets_its_last_set_point_although_the_arm_rests_before(gripping, monkeypatch):
    arm = gripping
    arm.moving()
    arm.finger_speed = 0.5
    arm.drive(0.3)
    monkeypatch.setattr(gripper, 'GOAL_S', 0.5)
    arm.drive(0.1)
    assert arm.enable(False).success
    arm.run(1.0)
    assert arm.place[2] == pytest.approx(arm.node._command[2], abs=0.01)
    assert not arm.node._output.pending


def test_a_gripper_that_holds_something_is_no_fault(gripping):
    arm = gripping
    arm.moving()
    arm.blocked[2] = True
    arm.finger_speed = 0.1
    arm.drive(0.3)
    arm.finger_speed = 0.0
    arm.drive(1.3)
    assert arm.stand_in.gripper.controller.end.stalled
    assert arm.state == Status.STATE_TRACKING


def test_fingers_stop_far_from_where_they_are_to_close_and_the_arm_goes_on(gripping):
    arm = gripping
    arm.moving()
    arm.blocked[2] = True
    arm.finger_speed = 0.5
    arm.drive(1.0)
    held = arm.node._command[2] - arm.place[2]
    assert held > 2 * arm.node.settings.following_error
    assert arm.state == Status.STATE_TRACKING
    arm.blocked[0] = True
    arm.drive(1.0)
    assert arm.state == Status.STATE_STOPPED
    assert 'from its set-point on shoulder' in arm.status[-1].reason


def test_a_gripper_that_rejects_its_goal_stops_the_arm(gripping):
    arm = gripping
    arm.moving()
    arm.stand_in.gripper._limits = (0.0, 0.01)
    arm.finger_speed = 0.5
    arm.drive(0.3)
    assert arm.state == Status.STATE_STOPPED
    assert 'gripper_controller/gripper_cmd rejected the goal' in arm.status[-1].reason


def test_a_gripper_that_was_started_anew_is_told_again(gripping):
    arm = gripping
    arm.moving()
    arm.finger_speed = 0.5
    arm.drive(0.5)
    arm.finger_speed = 0.0
    arm.drive(0.3)
    before, ready = arm.stand_in.gripper, arm.node._output.gripper._client.server_is_ready
    before.close()
    arm.graph.until(lambda: not ready())
    arm.drive(0.2)
    low, high = arm.driver.gripper_limits
    arm.stand_in.gripper = after = GripperDriver(
        arm.process, arm.driver.gripper_action, FINGER, (low, high), before._parallel
    )
    after.activate(float(arm.place[2]), arm.graph.now)
    arm.graph.until(ready)
    arm.drive(0.3)
    assert arm.state == Status.STATE_TRACKING
    assert after.commanded


def test_a_gripper_that_says_nothing_of_its_goal_is_named(gripping, monkeypatch):
    arm = gripping
    monkeypatch.setattr(gripper, 'ANSWER_S', 0.5)
    arm.stand_in.gripper._settle = lambda: None
    arm.moving()
    arm.finger_speed = 0.5
    arm.drive(0.2)
    arm.finger_speed = 0.0
    arm.drive(0.4)
    assert 'has said nothing' not in arm.node.health.status('', {}).message
    arm.drive(0.4)
    assert 'has said nothing of the goal' in arm.node.health.status('', {}).message
    assert arm.state == Status.STATE_TRACKING
