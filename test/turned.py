# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of an end effector by hand: roll, pitch, yaw about fixed axes as a quaternion."""

import numpy as np

EFFORTS = {'opening': (-2.0, 1.0), 'effort': (1.0, 0.0)}


def robot_rows(rows: np.ndarray, gripper: str) -> np.ndarray:
    """Return [H, 8] with a unit quaternion and an effort for rows [H, 7] of a policy."""
    roll, pitch, yaw = rows[:, 3:6].T / 2
    a, b, c, d, e, f = *map(np.cos, (roll, pitch, yaw)), *map(np.sin, (roll, pitch, yaw))
    turned = [
        d * b * c - a * e * f,
        a * e * c + d * b * f,
        a * b * f - d * e * c,
        a * b * c + d * e * f,
    ]
    scale, shift = EFFORTS[gripper]
    effort = np.clip(scale * rows[:, 6] + shift, -1, 1)
    return np.concatenate([rows[:, :3], np.transpose(turned), effort[:, None]], axis=1)
