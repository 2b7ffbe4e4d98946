# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever ends the motion ends that of the robot, and a start keeps what is held for it."""

import numpy as np
import pytest
from control.robots import World

from efficient_vla.control.state import State

FAST = (0.0, 0.3, 0.0)
WIDE = {'following_error': 1.0}
ENDS = {
    'stop': lambda world: world.stop(),
    'disable': lambda world: world.disable(),
    'pause': lambda world: world.controller.pause(world.now),
    'flush': lambda world: world.controller.flush(world.now, 'cancelled'),
    'chunks run out': lambda world: None,
}


@pytest.mark.parametrize('how', ENDS)
def test_a_slow_robot_ends_with_its_set_point_and_not_seconds_later(how):
    world = World(lag=1.0, **WIDE).ready()
    world.drive(FAST, 2.0)
    if how == 'chunks run out':
        world.run(0.45)
        assert world.controller.state == State.DECELERATING
    lead = world.sent[-1][1] - world.position[1]
    begin, speed = world.position[1], world.velocity[1]
    # In steady state it is speed * lag = 0.26 m behind and would go on for all of that.
    assert lead > 0.2
    ENDS[how](world)
    world.run(0.5)
    assert world.controller.at_rest
    assert abs(world.velocity[1]) < 0.005
    # They meet where the set-point comes back at 0.8 m/s, after lead / (0.8 + speed) at most.
    assert world.position[1] - begin < speed * (lead / 0.8 + 0.1)
    world.run(1.0)
    assert abs(world.velocity[1]) < 0.002
    steps = np.abs(np.diff([position[1] for position in world.sent]))
    assert steps.max() <= 0.8 * 0.01 + 1e-9


def test_a_blocked_robot_is_not_pressed_on_after_a_stop():
    world = World(**WIDE).ready()
    world.drive(FAST, 0.5)
    world.blocked = True
    world.drive(FAST, 0.8)
    place = world.position[1]
    assert world.sent[-1][1] - place > 0.2
    world.stop()
    world.run(0.6)
    assert world.sent[-1][1] == pytest.approx(place, abs=1e-6)
    world.blocked = False
    world.run(0.5)
    assert world.position[1] == pytest.approx(place, abs=1e-6)


def test_a_robot_that_follows_well_is_braked_as_it_moves():
    world = World(delay=0.1, robot_delay=0.1).ready()
    world.drive(FAST, 1.0)
    world.stop()
    world.run(0.5)
    assert np.diff([position[1] for position in world.sent]).min() > -1e-9


def test_a_robot_that_follows_is_not_driven_back_when_it_is_stopped_in_its_run_up():
    world = World().ready()
    world.chunk((0.0, 0.8, 0.0))
    world.run(0.02)
    world.stop()
    world.run(0.5)
    # Its measured velocity is an average of 30 ms, and nearly none yet.
    assert np.diff([position[1] for position in world.sent]).min() > -1e-9


def test_a_robot_put_elsewhere_while_it_goes_back_stays_there():
    world = World(lag=1.0, **WIDE).ready()
    world.drive(FAST, 1.0)
    world.stop()
    world.run(0.02)
    assert not world.controller.at_rest
    world.controller.reset(np.array([0.1, 0.5, 0.2]), world.now)
    world.run(0.5)
    np.testing.assert_allclose(world.sent[-1], [0.1, 0.5, 0.2], atol=1e-12)


def test_a_slow_robot_on_its_way_to_a_set_point_that_stands_is_stopped_too():
    world = World(lag=1.0, limits__position_high=(0.8,), **WIDE).ready()
    world.drive((0.0, 0.8, 0.0), 0.7)
    begin, speed = world.position[1], world.velocity[1]
    assert speed > 0.1
    assert world.sent[-1][1] == 0.8 == world.sent[-25][1]
    world.stop()
    world.run(1.0)
    assert world.position[1] - begin < 0.02
    assert abs(world.velocity[1]) < 0.005


def test_a_robot_that_lies_about_where_it_is_never_pulls_the_set_point_along():
    world = World(following_error=0.0).ready()
    world.drive(FAST, 1.0)
    world.lie = lambda position: position + [0.0, 5.0, 0.0]
    world.run(0.3)
    before = world.sent[-1][1]
    world.stop()
    world.run(0.5)
    assert world.sent[-1][1] == pytest.approx(before, abs=0.05)


def test_a_robot_whose_state_is_stale_is_braked_by_its_set_point():
    world = World(lag=1.0, **WIDE).ready()
    world.drive(FAST, 1.5)
    world.report = lambda: None
    world.drive(FAST, 0.3)
    world.stop()
    world.run(0.5)
    assert np.diff([position[1] for position in world.sent]).min() > -1e-9


@pytest.mark.parametrize('sag', [0.005, 0.015, 0.03])
def test_a_robot_that_sags_stays_where_it_is_held_over_a_hundred_starts(sag):
    world = World(sag=sag).ready()
    world.drive(FAST, 0.5)
    world.run(1.0)
    height = world.sent[-1][2]
    for _ in range(100):
        world.disable()
        world.run(0.1)
        assert world.enable() is None
        world.run(0.1)
    assert world.sent[-1][2] == pytest.approx(height, abs=1e-9)
    for _ in range(50):
        world.watch.notice(world.now)
        world.run(0.1)
    assert world.sent[-1][2] == pytest.approx(height, abs=1e-9)


def test_glitches_as_episodes_begin_never_let_a_robot_sink():
    world = World(sag=0.03).ready()
    world.drive(FAST, 0.5)
    world.run(1.0)
    held = world.sent[-1]
    for _ in range(10):
        world.watch.notice(world.now)
        world.lie = lambda position: position + [0.5, 0.0, 0.0]
        world.run(0.02)
        world.lie = lambda position: position
        world.run(0.5)
    np.testing.assert_allclose(world.sent[-1], held, atol=1e-9)
    assert world.controller.enabled


def test_a_robot_put_elsewhere_as_an_episode_begins_is_started_from_there():
    world = World().ready()
    world.drive(FAST, 0.5)
    world.run(1.0)
    world.watch.notice(world.now)
    world.move = lambda elapsed: None
    world.position = world.position + [0.3, 0.0, 0.0]
    world.run(0.4)
    np.testing.assert_allclose(world.sent[-1], world.position, atol=1e-9)
    assert world.controller.enabled


def test_a_robot_moved_by_hand_while_disabled_is_started_from_there():
    world = World(sag=0.01).ready()
    world.drive(FAST, 0.5)
    world.disable()
    world.run(1.0)
    held = world.sent[-1]
    world.push([0.002, 0.0, 0.0], 50)
    count = len(world.sent)
    assert world.enable() is None
    world.tick()
    assert world.sent[count][0] == pytest.approx(held[0] + 0.1, abs=1e-6)


def test_a_slow_robot_on_its_way_was_not_moved_by_hand():
    """Within stop_tolerance the set-point stays where it braked, however long the robot takes."""
    world = World(lag=1.0, stop_tolerance=0.3, **WIDE).ready()
    world.drive(FAST, 2.0)
    world.disable()
    world.run(0.2)
    held = world.sent[-1]
    assert world.controller.at_rest
    world.run(0.7)
    assert held[1] - world.position[1] > 0.05
    np.testing.assert_allclose(world.sent[-1], held)
    assert world.enable() is None
    world.run(0.1)
    np.testing.assert_allclose(world.sent[-1], held)


def test_a_tolerance_for_each_axis_decides_what_was_moved():
    world = World(reset_distance=(0.2, 0.02, 0.02)).ready()
    world.drive(FAST, 0.5)
    world.disable()
    world.run(1.0)
    held = world.sent[-1]
    world.push([0.002, 0.0, 0.0], 50)
    assert world.enable() is None
    world.tick()
    np.testing.assert_allclose(world.sent[-1], held)


def test_a_robot_that_does_not_follow_at_all_is_stopped_by_default():
    world = World().ready()
    world.blocked = True
    world.drive((0.0, 0.3, 0.0), 1.0)
    assert world.controller.state == State.STOPPED
    assert 'from its set-point' in world.controller.reason
    assert max(position[1] for position in world.sent) - 0.6 < 0.1 + 0.02


@pytest.mark.parametrize('to', [50.0, 0.9])
def test_a_glitch_before_the_start_is_not_started_from(to):
    world = World()
    world.lie = lambda position: np.array([to, 0.6, 0.2])
    world.run(0.05)
    refused = world.enable()
    assert refused
    world.lie = lambda position: position
    world.run(0.05)
    assert world.enable()
    world.run(0.3)
    assert world.enable() is None
    world.drive(FAST, 0.3)
    assert np.abs(np.array(world.sent)[:, 0]).max() < 1e-3


def test_a_position_far_from_the_box_is_refused_by_name():
    box = {'limits__position_low': (-0.5, 0.0, 0.0), 'limits__position_high': (0.5, 1.0, 0.5)}
    world = World(home=(1.6, 0.6, 0.2), **box)
    world.run(0.3)
    assert 'x is at 1.6; expected -1.5 to 1.5' in world.refused
    assert 'not known yet' in world.enable()
    world = World(home=(0.6, 0.6, 0.2), **box)
    world.run(0.3)
    assert 'x is at 0.6, outside of -0.5 to 0.5' in world.enable()


def test_a_state_is_as_old_as_its_stamp_says():
    world = World().ready()
    newest = world.watch.time
    world.watch.read(
        np.array([0.0, 0.6, 0.2]), None, newest, newest + 60, world.controller.limits, 0.1
    )
    said = world.watch.silent(newest + 60, 1.0)
    assert 'is 60.000 s old by its stamp; expected at most state_timeout 1.0 s' in said
    assert 'silent for longer' in world.watch.silent(newest + 70, 1.0)
    assert world.watch.silent(newest + 70, 0.0) is None


def test_where_a_robot_was_blocked_is_not_what_it_sags_once_it_is_free():
    world = World(lag=0.4, limits__position_high=(0.8,), **WIDE).ready()
    world.drive(FAST, 0.5)
    world.blocked = True
    world.drive(FAST, 1.0)
    assert world.sent[-1][1] == 0.8
    assert world.position[1] < 0.7
    world.blocked = False
    world.drive(FAST, 0.2)
    begin, speed = world.position[1], world.velocity[1]
    assert speed > 0.1
    world.stop()
    world.run(1.0)
    # They meet as above; it does not go on to the set-point that it could not reach before.
    assert world.position[1] - begin < speed * ((0.8 - begin) / 0.8 + 0.1) < 0.8 - begin
    assert abs(world.velocity[1]) < 0.005
