# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The stand-in of joint_trajectory_controller does what its documentation says."""

from dataclasses import replace

import numpy as np
import pytest

from efficient_vla.sim.drivers.joint_trajectory_controller import (
    GOAL_TOLERANCE_VIOLATED,
    PATH_TOLERANCE_VIOLATED,
    SUCCESSFUL,
    Constraints,
    JointTolerance,
    JointTrajectoryController,
)
from efficient_vla.sim.drivers.spline import JointPath, JointPoint, sample

JOINTS = ('shoulder', 'elbow')
PERIOD = 0.01
HOME = np.array([0.2, -0.4])
ZERO = np.zeros(2)


def point(time, position, velocity=None, acceleration=None):
    fields = (position, velocity, acceleration)
    return JointPoint(time, *(None if f is None else np.array(f, float) for f in fields))


def way(*points, joints=JOINTS, start=0.0):
    return JointPath(joints, points, start)


TO_ONE = way(point(1.0, [1.0, 0.4], ZERO, ZERO))


class Rig:
    """A controller and an arm that is where it is told, or stuck."""

    def __init__(self, **options):
        self.controller = JointTrajectoryController(JOINTS, PERIOD, **options)
        self.now = 10.0
        self.place = HOME.copy()
        self.stuck = False
        self.controller.activate(self.place, self.now)

    def run(self, seconds, scaling=1.0):
        for _ in range(round(seconds / PERIOD)):
            self.now += PERIOD
            command = self.controller.update(self.now, self.place, ZERO, scaling)
            if not self.stuck:
                self.place = command
        return self.place


def test_what_points_say_decides_how_they_are_joined():
    before = point(0.0, [0.0, 0.0])
    line = sample(way(point(2.0, [1.0, 2.0])), 0.0, before, 0.5)
    assert line.position == pytest.approx([0.25, 0.5])
    assert line.velocity == pytest.approx([0.5, 1.0])
    # From rest to rest: 3 s^2 - 2 s^3 and 10 s^3 - 15 s^4 + 6 s^5 at s = 1/4.
    cubic = sample(way(point(2.0, [1.0, 2.0], ZERO)), 0.0, before, 0.5)
    assert cubic.position == pytest.approx([0.15625, 0.3125])
    quintic = sample(way(point(2.0, [1.0, 2.0], ZERO, ZERO)), 0.0, before, 0.5)
    assert quintic.position == pytest.approx([0.103515625, 0.20703125])


def test_splines_meet_what_their_ends_say():
    first = point(1.0, [0.3, -0.2], [0.5, -1.0], [2.0, 0.1])
    second = point(1.4, [0.6, -0.1], [0.2, 0.3], [-1.0, 0.4])
    trajectory = way(first, second)
    for time, end in ((1.0, first), (1.4 - 1e-12, second)):
        found = sample(trajectory, 0.0, point(0.0, [0.0, 0.0]), time)
        assert found.position == pytest.approx(end.positions)
        assert found.velocity == pytest.approx(end.velocities)
        assert found.acceleration == pytest.approx(end.accelerations, abs=1e-8)


def test_points_that_are_past_are_passed_by():
    rig = Rig()
    late = way(point(0.5, [5.0, 5.0]), point(1.5, [0.3, -0.3]), start=rig.now - 1.4)
    rig.controller.follow(late)
    # 1.41 s and a period after its start, it is 0.08 s before the last point.
    assert rig.run(PERIOD) == pytest.approx([0.3 + 0.08 * 4.7, -0.3 + 0.08 * 5.3])
    assert rig.run(0.2) == pytest.approx([0.3, -0.3])


@pytest.mark.parametrize(
    ('trajectory', 'words'),
    [
        (way(point(1.0, [0.0, 0.0]), joints=('shoulder', 'wrist')), 'do not match'),
        (way(point(1.0, [0.0]), joints=('elbow',)), 'shoulder are missing'),
        (way(), 'empty'),
        (way(point(1.0, [0.0, 0.0]), point(1.0, [0.0, 0.1])), 'not strictly increasing'),
        (way(point(1.0, [0.0, 0.0]), start=5.0), 'ends in the past'),
        (way(point(1.0, [0.0, 0.0], [0.0, 0.1])), 'ends in motion'),
        (way(point(1.0, [0.0])), 'one value for each joint'),
        (way(point(1.0, [0.0, np.nan])), 'not finite'),
    ],
)
def test_trajectories_that_cannot_be_followed_are_refused(trajectory, words):
    rig = Rig()
    assert words in rig.controller.refuse(trajectory, rig.now)
    assert rig.controller.refuse(TO_ONE, rig.now) is None
    rig.controller.deactivate()
    assert 'not active' in rig.controller.refuse(TO_ONE, rig.now)


def test_joints_come_in_any_order_and_others_hold_where_that_is_allowed():
    rig = Rig(allow_partial_joints_goal=True)
    rig.controller.follow(way(point(0.5, [0.9, 0.7]), joints=('elbow', 'shoulder')))
    assert rig.run(0.6) == pytest.approx([0.7, 0.9])
    alone = way(point(0.5, [0.1]), joints=('elbow',))
    assert rig.controller.refuse(alone, rig.now) is None
    rig.controller.follow(alone)
    assert rig.run(0.6) == pytest.approx([0.7, 0.1])


def test_a_goal_is_reached_and_held():
    rig = Rig()
    rig.controller.follow(TO_ONE, goal=True)
    rig.run(0.5)
    assert rig.controller.result is None
    rig.run(0.6)
    assert rig.controller.result.code == SUCCESSFUL
    assert rig.run(0.5) == pytest.approx([1.0, 0.4])


def test_a_trajectory_replaces_the_one_before_from_the_desired_state():
    rig = Rig()
    rig.controller.follow(way(point(1.0, [1.0, 0.4], [1.0, 1.0], ZERO), point(2.0, [1, 1], ZERO)))
    path = [rig.run(PERIOD).copy() for _ in range(50)]
    rig.controller.follow(way(point(0.5, HOME, ZERO, ZERO)))
    path += [rig.run(PERIOD).copy() for _ in range(60)]
    assert np.abs(np.diff(path, n=2, axis=0)).max() < 0.003, 'no leap of the velocity'
    assert path[-1] == pytest.approx(HOME)


TOLERANCES = Constraints({'elbow': JointTolerance(trajectory=0.05, goal=0.02)}, goal_time=0.3)


@pytest.mark.parametrize('goal', [True, False])
def test_a_joint_off_its_way_holds_where_it_is(goal):
    rig = Rig(constraints=TOLERANCES)
    rig.stuck = True
    rig.controller.follow(TO_ONE, goal)
    rig.run(1.5)
    assert rig.controller.holding == 'path tolerance violated'
    assert rig.controller.report().output == pytest.approx(HOME)
    assert not goal or rig.controller.result.code == PATH_TOLERANCE_VIOLATED


def test_a_goal_that_is_not_reached_in_time_is_given_up():
    wide = {'elbow': JointTolerance(trajectory=9.0, goal=0.02)}
    rig = Rig(constraints=replace(TOLERANCES, joints=wide))
    rig.stuck = True
    rig.controller.follow(TO_ONE, goal=True)
    rig.run(1.25)
    assert rig.controller.result is None
    rig.run(0.1)
    assert rig.controller.result.code == GOAL_TOLERANCE_VIOLATED


def test_a_goal_has_tolerances_of_its_own():
    rig = Rig(constraints=TOLERANCES)
    rig.stuck = True
    rig.controller.follow(TO_ONE, goal=True, tolerances=Constraints())
    rig.run(0.9)
    assert not rig.controller.holding


def test_the_speed_slider_slows_the_time_of_the_trajectory():
    rig = Rig()
    rig.controller.follow(way(point(1.0, [1.2, 0.6])))
    # 0.5 s at 30 % and the period ahead: 0.157 of the way, the first sample passes no time.
    assert rig.run(0.5, scaling=0.3) == pytest.approx(HOME + 0.157)
    assert rig.run(0.3, scaling=0.0) == pytest.approx(HOME + 0.157, abs=0.004)
    assert rig.run(1.0) == pytest.approx(HOME + 1.0)


def test_a_cancelled_goal_holds_the_measured_place():
    rig = Rig()
    rig.controller.follow(TO_ONE, goal=True)
    place = rig.run(0.5).copy()
    rig.controller.cancel()
    assert not rig.controller.pursues_goal
    assert rig.run(0.5) == pytest.approx(place, abs=0.02)


def test_an_inactive_controller_ends_its_goal_and_holds_anew_when_it_is_back():
    rig = Rig()
    rig.controller.follow(TO_ONE, goal=True)
    rig.run(0.5)
    rig.controller.deactivate()
    assert 'deactivate' in rig.controller.result.text
    rig.place = np.array([0.5, 0.5])
    rig.controller.activate(rig.place, rig.now)
    assert rig.run(0.3) == pytest.approx([0.5, 0.5])
