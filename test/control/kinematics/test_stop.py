# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A chunk that is cut stands on its own path, also where a joint turns past half a turn."""

import numpy as np
from control.kinematics import arms

from efficient_vla.control.kinematics.checks import Ranges
from efficient_vla.control.kinematics.stop import stopped
from efficient_vla.types import ActionChunk, ControlMode


def test_a_joint_without_an_end_stays_on_its_way_through_half_a_turn() -> None:
    way = 2.94 + 0.06 * np.arange(1, 21)
    angles = (way + np.pi) % (2 * np.pi) - np.pi
    assert angles.min() < -3
    rows = np.stack([angles, np.linspace(-1, 1, 20)], axis=1).astype(np.float32)
    chunk = ActionChunk(rows, 0.05, ('wrist', 'gripper'), ControlMode.JOINT_POSITION, 0.0)
    limits = arms.ranges(1, reach=1e4)
    endless = Ranges(
        limits.low, limits.high, limits.velocity, np.full(1, 5.0), limits.jerk, np.ones(1, bool)
    )
    cut = stopped(chunk, 9, [0], np.array([2.94]), endless).actions[:, 0]
    gone = np.unwrap(cut)
    steps = np.diff(gone)
    assert steps.min() > -1e-6
    assert steps.max() < 0.0601
    assert abs(gone[-1] - way[8]) < 1e-5, 'at the end of the row before'
