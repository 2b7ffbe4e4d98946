# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Ticks and calibrated offsets of an SO-101's servos, and its calibration file."""

import json

import numpy as np
import pytest

from efficient_vla.errors import UsageError
from efficient_vla.sim.drivers.feetech import Motor, Servos, read_calibration

GRIPPER = (-0.2, 1.8)
SERVOS = Servos([Motor(-100, 1000, 3000), Motor(500, 2000, 3000, turned=True)], GRIPPER)


def test_the_middle_of_the_range_is_zero_and_the_gripper_ends_where_its_joint_does():
    assert SERVOS.goals(np.array([0.0, -0.2])).tolist() == [2000, 3000]
    # A quarter of a turn is 1024 ticks; the gripper's 1000 ticks are 2 rad.
    assert SERVOS.goals(np.array([np.pi / 4, 0.8])).tolist() == [2512, 2500]
    assert SERVOS.turned_by(np.array([1000, 2000])) == pytest.approx([-np.pi * 1000 / 2048, 1.8])


def test_no_goal_leaves_the_calibrated_range():
    assert SERVOS.goals(np.array([3.0, -1.0])).tolist() == [3000, 3000]


def test_encoders_show_the_homing_offset_beside_and_joints_are_read_without():
    joints = np.array([0.5, 0.3])
    assert SERVOS.encoder(joints).tolist() == [2000 + 326 - 100, 2750 + 500]
    assert SERVOS.read(SERVOS.encoder(joints)) == pytest.approx(joints, abs=2 * np.pi / 4096)


def test_an_encoder_that_passed_its_zero_is_read_as_if_it_had_not():
    servos = Servos([Motor(3000, 1000, 3000), Motor(0, 0, 1000)], GRIPPER)
    joints = np.array([0.9, 0.0])
    assert servos.encoder(joints)[0] == (2000 + 587 + 3000) % 4096
    assert servos.read(servos.encoder(joints)) == pytest.approx(joints, abs=0.002)


def motor(**fields):
    return {
        'id': 1,
        'drive_mode': 0,
        'homing_offset': 7,
        'range_min': 100,
        'range_max': 3000,
        **fields,
    }


def test_a_calibration_of_lerobot_is_read(tmp_path):
    path = tmp_path / 'my_arm.json'
    path.write_text(json.dumps({'gripper': motor(drive_mode=1), 'elbow_flex': motor()}))
    found = read_calibration(path, ['elbow_flex', 'gripper'])
    assert found == (Motor(7, 100, 3000), Motor(7, 100, 3000, turned=True))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('{', 'cannot be read'),
        ('[]', 'no map of motors'),
        ('{"other": 1}', 'lacks elbow_flex; it has other'),
        (json.dumps({'elbow_flex': motor(range_min='low')}), 'expected whole numbers'),
        (json.dumps({'elbow_flex': motor(range_max=50)}), 'low below high'),
        (json.dumps({'elbow_flex': motor(homing_offset=5000)}), 'homing_offset 5000'),
    ],
)
def test_a_calibration_that_is_none_is_named(tmp_path, text, words):
    path = tmp_path / 'bad.json'
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_calibration(path, ['elbow_flex'])
