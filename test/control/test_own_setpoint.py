# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Robots that report their own set-point, and robots that follow velocities, are not trusted."""

from collections import deque

import numpy as np
import pytest
from control.robots import PERIOD, World

from efficient_vla.control.limits import AxisLimits
from efficient_vla.control.rotations import UNTURNED
from efficient_vla.control.state import State
from efficient_vla.control.whereabouts import Whereabouts
from efficient_vla.nodes.controller.robot_state import slipped

SLOW = (0.2, 0.0, 0.0)


class Exact(World):
    """A robot that stands at its own set-point, and reports both ``late`` [ticks], well stamped.

    While it is ``deaf`` it takes no set-point.
    """

    def __init__(self, late=0, **values):
        super().__init__(**values)
        self.own = self.position
        self.deaf = False
        self.states = deque(maxlen=late + 1)

    def move(self, elapsed):
        target = self.wire[0] if len(self.wire) == 1 else self.wire.popleft()
        if not self.deaf:
            self.own = target.copy()
        self.velocity = (self.own - self.position) / elapsed
        self.position = self.own

    def report(self):
        self.states.append((self.steady, self.position, self.own))
        now, (self.steady, position, own) = self.steady, self.states[0]
        self.position, kept = position, (self.position, self.own)
        self.own = own
        stamp, self.steady = self.steady + self.offset, now
        try:
            self.take(stamp)
        finally:
            self.position, self.own = kept

    def take(self, stamp):
        """Take the state of ``stamp``, as the node does."""
        super().report(stamp)
        if self.known and slipped(self.controller, self.watch, self.settings, self.now):
            self.anchor()


def largest_step(world, since=0):
    """Return the largest step of a set-point that was sent [m]."""
    return np.abs(np.diff(world.sent[since:], axis=0)).max()


def glitch(world, moved=True):
    """Let one state have a set-point 0.3 m off, with the robot there where it ``moved``."""
    place = world.position
    world.own = place + [0.3, 0.0, 0.0]
    world.position = world.own if moved else place
    world.report()
    world.own = world.position = place


def test_a_driver_that_takes_no_set_points_is_stopped_before_it_listens_again():
    world = Exact().ready()
    world.deaf = True
    world.drive(SLOW, 3.0)
    assert world.controller.state == State.STOPPED
    assert 'from its set-point' in world.controller.reason
    # At following_error 0.1 the set-point was 0.1 m ahead, and has come to rest since.
    assert np.abs(world.controller.motion[0] - world.position).max() < 0.12


@pytest.mark.parametrize('late', [0, 10, 20])
def test_a_start_beside_late_states_goes_on_from_what_is_held(late):
    world = Exact(late=late).ready()
    world.drive(SLOW, 0.6)
    world.disable()
    while not world.controller.at_rest:
        world.tick()
    assert world.enable() is None
    world.run(0.5)
    world.drive(SLOW, 0.3)
    assert largest_step(world) <= 0.8 * PERIOD


def test_one_wrong_set_point_of_a_robot_that_waits_is_not_started_from():
    world = Exact().ready()
    world.run(0.3)
    glitch(world)
    world.run(0.5)
    assert world.controller.state == State.WAITING
    assert largest_step(world) == 0.0
    world.disable()
    for moved in (True, False):
        glitch(world, moved)
        assert 'leapt by 0.300' in world.enable()
        world.run(0.3)
    assert world.enable() is None
    assert largest_step(world) == 0.0


def test_an_episode_that_begins_elsewhere_is_started_from_there_once_two_states_agree():
    world = Exact().ready()
    world.drive(SLOW, 0.3)
    world.controller.flush(world.now, 'the task ended')
    world.run(0.5)
    world.watch.notice(world.now)
    before = world.controller.motion[0]
    world.wire[0] = world.own = world.position = np.array([0.1, 0.5, 0.2])
    world.report()
    np.testing.assert_array_equal(world.controller.motion[0], before)
    world.steady += PERIOD
    world.report()
    np.testing.assert_allclose(world.controller.motion[0], [0.1, 0.5, 0.2])
    world.disable()
    assert world.enable() is None


def test_an_episode_that_has_just_begun_can_be_enabled_where_the_robot_says_it_is():
    world = Exact().ready()
    world.drive(SLOW, 0.3)
    world.disable()
    world.run(0.5)
    world.watch.notice(world.now)
    world.wire[0] = world.own = world.position = np.array([0.1, 0.5, 0.2])
    world.report()
    assert world.enable() is None
    np.testing.assert_allclose(world.controller.motion[0], [0.1, 0.5, 0.2])


@pytest.mark.parametrize('behind', [0.05, 0.25, 0.9])
def test_a_leap_is_doubted_however_late_the_clock_of_the_driver_is(behind):
    world = World()

    def say(count):
        for _ in range(count):
            world.steady += PERIOD
            World.report(world, world.steady + world.offset - behind)

    say(60)
    assert world.known
    world.position = world.position + [0.0, 0.5, 0.0]
    say(1)
    assert 'leapt by 0.500' in world.enable()
    say(60)
    assert world.enable() is None


def test_a_state_of_the_future_is_refused():
    world = World()
    world.run(0.3)
    known = world.watch.time
    World.report(world, world.steady + world.offset + 3600)
    assert 'robot_state is stamped 3600.000 s in the future; expected at most' in world.refused
    assert world.watch.time == known


class Drifting(World):
    """A robot that follows velocities, ``slower`` one way than the other."""

    slower = 0.9

    def move(self, elapsed):
        if self.known and not self.blocked:
            velocity = self.controller.motion[1]
            velocity = np.where(velocity > 0, velocity, self.slower * velocity)
            self.velocity = velocity
            self.position = self.position + velocity * elapsed


def test_a_robot_that_drifts_out_of_the_box_is_stopped_at_its_side():
    box = {'limits__position_low': (-0.3, 0.3, 0.05), 'limits__position_high': (0.3, 1.0, 0.5)}
    world = Drifting(output='twist', **box).ready()
    for turn in range(60):
        world.drive((0.2 if turn % 2 == 0 else -0.2, 0.0, 0.0), 1.0)
        if world.controller.state == State.STOPPED:
            break
    assert world.controller.state == State.STOPPED
    assert world.controller.reason.startswith('x is at 0.31')
    assert world.position[0] < 0.33


def test_a_blocked_robot_that_follows_velocities_is_stopped():
    world = Drifting(output='twist').ready()
    world.drive(SLOW, 1.0)
    assert world.controller.state == State.TRACKING
    world.blocked = True
    world.drive(SLOW, 1.0)
    assert world.controller.state == State.STOPPED
    assert 'from its set-point' in world.controller.reason


def test_a_joint_that_turns_more_than_half_a_turn_a_second_does_not_drift():
    watch = Whereabouts(('wrist',), np.array([True]))
    limits = [AxisLimits(5.0, 20.0, 1500.0, 20.0, -1e3, 1e3)]
    speed = 4.0
    for tick in range(300):
        now = tick * PERIOD
        seen = (speed * now + np.pi) % (2 * np.pi) - np.pi
        watch.read(np.array([seen]), None, now, now, limits, 0.05)
        if not tick:
            watch.anchored(now)
        way = watch.drift(lambda time: np.array([speed * time]), lambda time: UNTURNED)
        assert way < 1e-6


def test_what_a_hand_did_before_the_start_is_no_drift():
    world = Drifting(output='twist').ready()
    world.disable()
    for _ in range(50):
        world.position = world.position + [0.004, 0.0, 0.0]
        world.tick()
    assert world.enable() is None
    world.drive(SLOW, 0.5)
    assert world.controller.state == State.TRACKING


def test_a_robot_that_is_lowered_slowly_while_it_is_held_does_not_sag():
    world = World(following_error=0.1).ready()
    world.drive(SLOW, 0.3)
    world.run(2.0)
    world.push([0.0, 0.0, -1e-4], 600)
    held = world.sent[-1]
    world.disable()
    world.run(0.1)
    assert world.enable() is None
    world.tick()
    # It starts from where it is: the set-point that was held is 60 mm above.
    assert world.controller.motion[0][2] == pytest.approx(held[2] - 0.06, abs=2e-3)
