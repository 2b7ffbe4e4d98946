# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A robot that does not get to where it is sent."""

import numpy as np
import pytest
from nodes.arm import SPEED, Arm, Status
from std_srvs.srv import SetBool

from efficient_vla.nodes.base.conversions import joint_state

LIMIT = 0.03


class MeasuringArm(Arm):
    """Reports where it is, not its set-point: ``lag`` [s] late, ``sag`` [m] low, or blocked."""

    lag = 0.0
    sag = 0.0
    blocked = False

    def _follow(self, message) -> None:
        self.commands.append(message)
        due = self.graph.now - self.lag + 1e-6
        reached = [c for c in self.commands if stamp(c) <= due]
        if reached and not self.blocked:
            self.position = np.array(reached[-1].position[:3]) - [0.0, 0.0, self.sag]
        self.report()

    def report(self) -> None:
        """Report the measured position."""
        values = np.append(self.position, 1.0)
        names = ('x', 'y', 'z', 'gripper')
        self.states.publish(joint_state(names, values, self.graph.now))

    def drive(self, seconds: float) -> None:
        """Follow chunks for so long."""
        for _ in range(round(seconds / 0.1)):
            self.chunks.publish(self.make_chunk())
            self.run(0.1)


def stamp(message) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


@pytest.fixture
def start(graph):
    def started(lag: float = 0.0, **values) -> MeasuringArm:
        arm = MeasuringArm(graph, **values)
        arm.lag = lag
        # A measured position is believed when it has not leapt for a while.
        graph.run(0.3, each=arm.report)
        graph.until(lambda: arm.node._command is not None)
        assert arm.enable().success
        return arm

    return started


def test_blocked_robot_is_stopped_and_goes_on_from_where_it_is(start):
    arm = start(following_error=LIMIT)
    arm.drive(0.3)
    assert arm.state == Status.STATE_TRACKING
    arm.blocked, place = True, arm.position.copy()
    arm.drive(0.5)
    assert arm.state == Status.STATE_STOPPED
    assert 'expected at most following_error 0.03' in arm.status[-1].reason
    ahead = max(c.position[1] for c in arm.commands) - place[1]
    assert LIMIT < ahead < LIMIT + 0.02
    assert not arm.enable().success
    # The set-point is not left inside of what blocks the robot.
    assert arm.commands[-1].position[1] == pytest.approx(place[1], abs=1e-6)
    assert arm.reset_stop().success
    assert arm.enable().success
    arm.blocked = False
    arm.drive(0.3)
    assert arm.state == Status.STATE_TRACKING


@pytest.mark.parametrize(('delay', 'stops'), [(0.25, False), (0.0, True)])
def test_lag_of_the_robot_is_no_error(start, delay, stops):
    arm = start(lag=0.25, following_error=LIMIT, robot_delay=delay)
    arm.drive(1.0)
    assert SPEED * arm.lag > LIMIT
    assert (arm.state == Status.STATE_STOPPED) == stops


def test_robot_that_reports_its_set_point_is_compared_with_that(graph):
    arm = Arm(graph, following_error=LIMIT)
    arm.moving()
    arm.silent = True
    state = graph.state(arm.position)
    state.position[1] -= 2 * LIMIT
    arm.states.publish(state)
    graph.until(lambda: arm.status[-1].state == Status.STATE_STOPPED)
    assert 'robot is 0.060 from its set-point' in arm.status[-1].reason


@pytest.mark.parametrize('how', ['stop', 'pause'])
def test_robot_that_lags_and_sags_is_not_followed_once_it_stands(graph, start, how):
    arm = start(lag=0.15, robot_delay=0.15)
    arm.sag = 0.025
    arm.drive(1.0)
    height = arm.commands[-1].position[2]
    if how == 'stop':
        arm.stop()
    else:
        assert graph.call(SetBool, 'controller/pause', data=True).success
    arm.run(1.0)
    path = np.array([command.position[:3] for command in arm.commands])
    assert np.diff(path[:, 1]).min() > -1e-9
    assert path[-1, 2] == pytest.approx(height, abs=1e-6)


def test_states_that_come_too_seldom_to_stop_by_are_told(graph, start):
    arm = start()
    arm.drive(0.3)
    assert not arm.node.health.message('robot_state_rate')
    report, arm.report = arm.report, lambda: None
    graph.run(0.4)
    report()
    graph.until(lambda: arm.node.health.message('robot_state_rate'))
    assert 'expected 0.25 s or less' in arm.node.health.message('robot_state_rate')


def test_a_blocked_robot_is_warned_of_and_stopped_by_default(start):
    arm = start()
    arm.drive(0.3)
    arm.blocked, place = True, arm.position.copy()
    arm.drive(0.4)
    assert arm.state == Status.STATE_TRACKING
    assert 'expected at most following_error 0.1' in arm.node.health.message('following_error')
    arm.drive(0.6)
    assert arm.state == Status.STATE_STOPPED
    assert max(c.position[1] for c in arm.commands) - place[1] < 0.1 + 0.02


def test_velocities_have_no_place_to_compare_with(start):
    arm = start(output='twist')
    arm.blocked = True
    arm.drive(1.0)
    assert arm.state == Status.STATE_TRACKING
