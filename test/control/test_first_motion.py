# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the sender of the first chunk got wrong is named before the robot moves."""

import math

import numpy as np
import pytest

from efficient_vla.control.controller import Controller
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.settings import build
from efficient_vla.types import ActionChunk, ControlMode

JOINTS = ('pan', 'lift', 'elbow', 'flex', 'roll', 'jaw')
PLACE = np.array([0.3, -1.4, 1.2, 0.8, -0.1, 0.2])
LOW, HIGH = (-1.9, -1.75, -1.7, -1.7, -2.7, -0.17), (1.9, 1.75, 1.7, 1.7, 2.8, 1.75)
LIMITS = {
    'limits.max_velocity': (3.0,),
    'limits.position_low': LOW,
    'limits.position_high': HIGH,
    'ramp_time': 0.0,
}
HAND, SPOT = ('x', 'y', 'z', 'gripper'), np.array([0.1, 0.6, 0.2, 0.0])
DT = 0.02
POSITION, DELTA = ControlMode.JOINT_POSITION, ControlMode.JOINT_DELTA
WAY = np.array([0.1, 0.2, -0.15, 0.1, -0.2, 0.5])
"""Velocity of the motion that is meant [rad/s]."""


def controller_of(names, place, **values):
    controller = Controller(build(ControllerSettings, {**LIMITS, **values}), names)
    controller.reset(place, 0.0)
    assert controller.enable(0.0) is None
    return controller


def joint_controller(place=PLACE, **values):
    return controller_of(JOINTS, place, **values)


def hand_controller(**values):
    box = {'limits.position_low': (-1.0,), 'limits.position_high': (1.0,)}
    return controller_of(HAND, SPOT, **{'limits.max_velocity': (0.8,), **box, **values})


def chunk(rows, mode=POSITION, names=JOINTS, sequence=1, dt=DT, stamp=0.0):
    return ActionChunk(np.asarray(rows, np.float32), dt, names, mode, stamp, sequence)


def meant(place=PLACE, way=WAY, rows=25):
    return place + np.arange(1, rows + 1)[:, None] * DT * way


def swapped(rows, *columns):
    rows = rows.copy()
    rows[:, list(columns)] = rows[:, list(columns[::-1])]
    return rows


def turned(rows, column):
    return rows * np.where(np.arange(rows.shape[1]) == column, -1, 1)


def percent(rows):
    rows = rows.copy()
    rows[:, -1] = 100 * (rows[:, -1] - LOW[-1]) / (HIGH[-1] - LOW[-1])
    return rows


MISTAKES = {
    'degrees as radians': (np.degrees(meant()), POSITION, 'degrees'),
    'radians as degrees': (np.radians(meant()), POSITION, 'radians, taken for degrees'),
    'two joints swapped': (swapped(meant(), 1, 2), POSITION, 'lift and elbow are swapped'),
    'reverse order': (meant()[:, [4, 3, 2, 1, 0, 5]], POSITION, 'reverse order'),
    'another sign': (turned(meant(), 1), POSITION, 'the sign of lift'),
    'another zero': (meant() + [0, 0, 0, math.pi / 2, 0, 0], POSITION, 'the zero of flex is 90'),
    'rows in reverse': (meant(way=4 * WAY)[::-1], POSITION, 'in reverse order of time'),
    'displacements as positions': (np.tile(WAY * DT, (25, 1)), POSITION, 'a displacement, taken'),
    'positions as displacements': (meant(), DELTA, 'a position, taken for a displacement'),
    'displacements in degrees': (np.degrees(np.tile(WAY * 4 * DT, (25, 1))), DELTA, 'degrees'),
    'velocities as displacements': (np.tile(WAY * 4, (25, 1)), DELTA, 'limits.max_velocity'),
    'gripper in percent': (percent(meant()), POSITION, 'percent'),
    'not unnormalised': (np.tile([0.9, -0.4, 0.7, -0.8, 0.6, 0.1], (25, 1)), POSITION, 'at most'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_mistakes_are_named_and_move_nothing(name):
    rows, mode, words = MISTAKES[name]
    controller = joint_controller()
    refused = controller.accept(chunk(rows, mode), 0.0)
    assert words in refused
    for tick in range(1, 100):
        np.testing.assert_array_equal(controller.tick(tick / 100).position, PLACE)
    assert controller.accept(chunk(meant(), sequence=2, stamp=1.0), 1.0) is None, 'recovers'


HAND_WAY = np.array([0.05, -0.1, 0.08, 0.0])
HAND_ROWS = meant(SPOT, HAND_WAY)
METRES = np.array([1e3, 1e3, 1e3, 1.0])
EE_MISTAKES = {
    'millimetres': (HAND_ROWS * METRES, ControlMode.EE_POSITION, 'millimetres'),
    'metres as millimetres': (HAND_ROWS / METRES, ControlMode.EE_POSITION, 'metres, taken for'),
    'axes swapped': (swapped(HAND_ROWS, 0, 1), ControlMode.EE_POSITION, 'x and y are swapped'),
    'displacements': (np.tile(HAND_WAY * DT, (9, 1)), ControlMode.EE_POSITION, 'a displacement'),
    'positions': (HAND_ROWS, ControlMode.EE_DELTA, 'a position, taken for a displacement'),
    'effort in percent': (HAND_ROWS + [0, 0, 0, 100], ControlMode.EE_POSITION, 'an effort from'),
    'other base frame': (HAND_ROWS + [0.3, 0, 0.1, 0], ControlMode.EE_POSITION, 'at most 0.05 m'),
}


@pytest.mark.parametrize('name', EE_MISTAKES)
def test_mistakes_of_a_hand_are_named(name):
    rows, mode, words = EE_MISTAKES[name]
    controller = hand_controller()
    assert words in controller.accept(chunk(rows, mode, HAND), 0.0)
    np.testing.assert_array_equal(controller.tick(0.1).position, SPOT)


def test_honest_first_chunks_pass_and_mistakes_of_thousands_do_not():
    rng = np.random.default_rng(0)
    low, high = np.array(LOW), np.array(HIGH)
    caught = wrong = 0
    for _ in range(1000):
        place = rng.uniform(low, high)
        way = rng.uniform(-1, 1, 6) * rng.choice([0.1, 1.0, 3.0])
        rows = np.clip(meant(place, way, 10), low, high)
        assert joint_controller(place).accept(chunk(rows), 0.0) is None
        pair = rng.choice(5, 2, replace=False)
        joint = int(rng.integers(5))
        for bad in (np.degrees(rows), swapped(rows, *pair), turned(rows, joint), rows * 0):
            # A mistake that moves no joint by so much could be what the policy wants.
            if np.abs(bad[0, :5] - place[:5]).max() > 0.2:
                wrong += 1
                caught += joint_controller(place).accept(chunk(bad), 0.0) is not None
    assert wrong > 3500
    assert caught >= wrong - 5


def test_only_the_first_chunk_is_held_to_where_the_robot_stands():
    far = meant() + [0.0, 0.5, 0.0, 0.0, 0.0, 0.0]
    controller = joint_controller()
    assert 'where the robot is at -1.4' in controller.accept(chunk(far), 0.0)
    assert controller.accept(chunk(meant(), sequence=2), 0.0) is None
    assert controller.accept(chunk(far, sequence=3, stamp=0.01), 0.01) is None
    controller.disable(0.02)
    controller.enable(0.03)
    assert 'where the robot is' in controller.accept(chunk(far, stamp=0.04), 0.04)


def test_the_distance_allowed_is_a_setting():
    far = meant() + [0.0, 0.5, 0.0, 0.0, 0.0, 0.0]
    controller = joint_controller(**{'contract.first_angle': 0.6})
    assert controller.accept(chunk(far), 0.0) is None
    off = HAND_ROWS + [0.3, 0, 0.1, 0]
    controller = hand_controller(**{'contract.first_length': 0.4})
    assert controller.accept(chunk(off, ControlMode.EE_POSITION, HAND), 0.0) is None


def test_a_finger_may_leap_inside_its_range():
    rows = meant()
    rows[:, -1] = 1.7
    assert joint_controller().accept(chunk(rows), 0.0) is None
    rows[:, -1] = 1.9
    assert joint_controller().accept(chunk(rows), 0.0) is None, 'little beyond: the box clips it'


def test_a_continuous_joint_is_near_after_a_full_turn():
    controller = joint_controller(continuous=('roll',), **{'limits.position_low': (-9.0,) * 6})
    rows = meant()
    rows[:, 4] += 2 * math.pi
    assert controller.accept(chunk(rows), 0.0) is None
