# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A joint without an end goes the short way round; any other never a whole turn by mistake."""

import math

import numpy as np
import pytest
from control.robots import World

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.control.state import State
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import ActionChunk, ControlMode

NAMES = ('turn', 'lift')


def wrapped(angle):
    return (np.asarray(angle) + math.pi) % (2 * math.pi) - math.pi


def spinning(world, speed, rows=40, dt=0.0125):
    """A policy that says angles in (-pi, pi], ahead of where the robot says it is."""
    world.sequence += 1
    seen = world.lie(world.position)
    path = np.zeros((rows, 2))
    path[:, 0] = wrapped(seen[0] + speed * dt * np.arange(1, rows + 1))
    path[:, 1] = seen[1]
    chunk = ActionChunk(
        path.astype(np.float32), dt, NAMES, ControlMode.JOINT_POSITION, world.now, world.sequence
    )
    return world.controller.accept(chunk, world.now)


def make(**values):
    values = {'blending__method': 'offset_fade', 'robot_delay': 0.01, **values}
    world = World(home=(3.0, 0.2), names=NAMES, **values)
    world.lie = lambda position: np.array([wrapped(position[0]), position[1]])
    return world.ready()


def test_a_continuous_joint_goes_on_for_many_turns():
    world = make(
        continuous=('turn',), limits__position_low=(-100.0,), limits__position_high=(100.0,)
    )
    for _ in range(320):
        assert spinning(world, 0.7) is None
        world.run(0.1)
    assert world.sent[-1][0] > 3.0 + 3 * 2 * math.pi


def test_a_continuous_joint_goes_on_through_pi():
    world = make(continuous=('turn',), following_error=0.3)
    for _ in range(20):
        assert spinning(world, 0.5) is None
        world.run(0.1)
    assert world.controller.state == State.TRACKING
    steps = np.diff(world.sent, axis=0)[:, 0]
    assert steps.min() > -1e-6
    assert world.sent[-1][0] == pytest.approx(4.0, abs=0.05)
    world.disable()
    world.run(1.0)
    held = world.sent[-1][0]
    assert held > math.pi
    assert world.enable() is None
    world.run(0.1)
    assert world.sent[-1][0] == pytest.approx(held, abs=1e-9), 'a turn away is the same place'


def test_any_other_joint_refuses_angles_that_wrap():
    world = make()
    assert spinning(world, 0.1) is None
    refused = spinning(world, 0.5)
    assert 'nearly a full turn within a row on turn' in refused
    assert 'continuous' in refused


def test_a_row_a_full_turn_from_the_set_point_is_refused():
    world = make()
    world.sequence += 1
    rows = np.tile(np.array([3.0 - 2 * math.pi, 0.2], np.float32), (10, 1))
    chunk = ActionChunk(rows, 0.02, NAMES, ControlMode.JOINT_POSITION, world.now, 1)
    assert 'full turn' in world.controller.accept(chunk, world.now)


def test_continuous_names_are_axes_of_the_robot():
    values = {'names': ('turn', 'gripper'), 'continuous': ('wheel',)}
    with pytest.raises(InvalidSettingError, match='continuous has wheel; expected some of turn'):
        build(ControllerNodeSettings, values)
    values = {'names': NAMES, 'reset_distance': (0.1, 0.1, 0.1)}
    with pytest.raises(InvalidSettingError, match='reset_distance has 3 values; expected one'):
        build(ControllerNodeSettings, values)
