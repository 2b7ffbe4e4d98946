# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A check that goes through bytes finds what the model finds."""

import math
from dataclasses import replace

import numpy as np
import pytest
from control.kinematics import arms

from efficient_vla.control.kinematics import wire
from efficient_vla.control.kinematics.checks import Checked
from efficient_vla.control.kinematics.loading import DescribedArm
from efficient_vla.control.kinematics.settings import CollisionSettings, KinematicsSettings
from efficient_vla.types import ActionChunk, ControlMode

NAMES = (*(f'j{k}' for k in range(6)), 'gripper')
LOW = float(arms.forward(arms.UR5E, (0.0, 0.0, 0.1), arms.UR5E_HOME)[2, 3]) - 0.1
ARM = DescribedArm(
    arms.ur5e(),
    NAMES,
    KinematicsSettings(tolerance=2e-3),
    CollisionSettings(table=(LOW,)),
    ('/nowhere',),
    {'gripper': 'finger'},
)
CHUNK = ActionChunk(
    np.tile(np.array([0.0, 0.0, -0.004, 0.5], np.float32), (30, 1)),
    0.02,
    ('x', 'y', 'z', 'gripper'),
    ControlMode.EE_DELTA,
    12.5,
    sequence=7,
    plan_valid_for=math.inf,
    instruction='push the "cube"\n',
)
RANGES = arms.ranges(6)


def same(one: ActionChunk, other: ActionChunk) -> bool:
    rest = replace(other, actions=one.actions)
    return bool((one.actions == other.actions).all()) and repr(one) == repr(rest)


def test_an_arm_comes_out_of_bytes_as_it_went_in() -> None:
    assert wire.unpack_arm(wire.pack_arm(ARM)) == ARM


def test_an_answer_through_bytes_is_that_of_the_model() -> None:
    request = wire.pack_request(CHUNK, arms.UR5E_HOME, RANGES, arms.UR5E_HOME)
    found = wire.unpack_answer(wire.answer(ARM.model(), request))
    expected = ARM.model().check(CHUNK, arms.UR5E_HOME, RANGES)
    assert expected.finding is not None
    assert expected.finding.rule == 'table'
    assert (found.finding, found.refused) == (expected.finding, expected.refused)
    assert found.chunk.names == NAMES
    assert found.chunk.control_mode is ControlMode.JOINT_DELTA
    assert same(found.chunk, expected.chunk)


def test_the_model_is_told_where_the_arm_started() -> None:
    class Asked:
        """Keeps what it is told."""

        def rest(self, axes: np.ndarray) -> None:
            self.rested = axes

        def check(self, chunk: ActionChunk, anchor: np.ndarray, ranges: object) -> Checked:
            self.asked = chunk, anchor, ranges
            return Checked(chunk, refused='too far')

    model = Asked()
    rested = np.arange(6.0)
    answer = wire.answer(model, wire.pack_request(CHUNK, arms.UR5E_HOME, RANGES, rested))
    assert (model.rested == rested).all()
    chunk, anchor, ranges = model.asked
    assert same(chunk, CHUNK)
    assert (anchor == arms.UR5E_HOME).all()
    assert (ranges.jerk == RANGES.jerk).all()
    assert ranges.continuous.dtype == bool
    assert wire.unpack_answer(answer).refused == 'too far'


def test_a_check_that_fails_says_why() -> None:
    class Broken:
        """Fails."""

        def rest(self, axes: np.ndarray) -> None:
            raise ValueError('no such joint')

    answer = wire.answer(Broken(), wire.pack_request(CHUNK, arms.UR5E_HOME, RANGES, np.zeros(6)))
    with pytest.raises(wire.CheckFailedError, match='ValueError: no such joint'):
        wire.unpack_answer(answer)
