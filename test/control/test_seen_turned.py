# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How a robot that turns is seen: half a turn away, off by a rotation of the base, at a reset."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from efficient_vla.control.attitude import Attitude
from efficient_vla.control.limits import AxisLimits
from efficient_vla.control.whereabouts import Whereabouts
from efficient_vla.types import ActionChunk, ControlMode, InvalidRecordError

NAMES = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
AXES = ('x', 'y', 'z', 'rx', 'ry', 'rz')
LIMITS = [AxisLimits(0.8, 20.0, 1500.0, 20.0, -10.0, 10.0)] * 6
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
"""The gripper points down: half a turn about x."""


@pytest.fixture
def watch():
    return Whereabouts(AXES, np.zeros(6, bool), slice(3, 6))


def seen(attitude, quaternion):
    return attitude.observed(np.array([0.3, 0.0, 0.4, *quaternion]))


@pytest.mark.parametrize('signs', [(1, 1), (1, -1)])
def test_a_tool_that_points_down_is_believed_before_it_is_taken_over(watch, signs):
    attitude, rng = Attitude(NAMES), np.random.default_rng(0)
    for tick in range(100):
        noise = rng.normal(0.0, 1e-4)
        quaternion = signs[tick % 2] * np.array([math.cos(noise), 0.0, 0.0, math.sin(noise)])
        now = 0.01 * tick
        watch.read(seen(attitude, quaternion), None, now, now, LIMITS, 0.05)
    assert watch.doubted(now) is None


def test_a_tool_that_points_down_is_taken_over_where_it_was_seen():
    attitude = Attitude(NAMES)
    before = seen(attitude, [math.cos(1e-4), 0.0, 0.0, -math.sin(1e-4)])
    attitude.hold(np.array([0.3, 0.0, 0.4, *DOWN]), before)
    after = seen(attitude, [math.cos(1e-4), 0.0, 0.0, math.sin(1e-4)])
    assert np.abs(after - before).max() < 1e-3


def test_a_robot_off_by_a_rotation_of_the_base_does_not_drift_as_it_turns(watch):
    off, rate, period = Rotation.from_rotvec([0.08, 0.0, 0.0]), 1.5, 0.02
    attitude, places, turned = Attitude(NAMES), [], []
    for tick in range(60):
        now = tick * period
        setpoint = Rotation.from_rotvec([0.0, 0.0, rate * now])
        position = np.array([0.3, 0.0, 0.4, 0.0, 0.0, rate * now])
        attitude.move(position)
        places.append(position)
        turned.append(attitude.turned)
        measured = seen(attitude, (off * setpoint).as_quat())
        watch.read(measured, None, now, now, LIMITS, 0.05)
        if not tick:
            watch.anchored(now)
        drift = watch.drift(
            lambda time: places[round(time / period)], lambda time: turned[round(time / period)]
        )
        assert drift < 1e-3


def test_a_reset_to_the_other_quaternion_of_a_rotation_sends_the_one_before():
    attitude = Attitude(NAMES)
    turned = np.array([0.0, 0.0, math.sin(0.1), math.cos(0.1)])
    sent = []
    for sign in (1, -1):
        columns = np.array([0.3, 0.0, 0.4, *(sign * turned)])
        position = attitude.hold(columns, np.array([0.3, 0.0, 0.4, 0.0, 0.0, 0.0]))
        attitude.write(columns, position)
        sent.append(columns[3:])
    np.testing.assert_allclose(sent, [turned, turned], atol=1e-12)


@pytest.mark.parametrize('names', [NAMES[3:], ('x', 'y', *NAMES[3:])])
def test_only_a_whole_pose_is_displaced_along_the_tool(names):
    rows = np.tile([0.0] * (len(names) - 1) + [1.0], (4, 1)).astype(np.float32)
    with pytest.raises(InvalidRecordError, match='tool for displacements of a whole pose'):
        ActionChunk(rows, 0.05, names, ControlMode.EE_DELTA, 0.0, 1, frame='tool')
