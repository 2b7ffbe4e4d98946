# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Limits of arms that people own, as published by their makers [rad, s].

A jerk that nobody publishes is such that the acceleration is reached within 50 ms.
"""

from math import pi, radians

ARMS = {
    # frankarobotics.github.io, Robot and interface specifications, limits of Panda.
    'panda': {
        'max_velocity': (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
        'max_acceleration': (15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
        'max_jerk': (7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
        'position_low': (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        'position_high': (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    },
    # The same page, limits of Franka Research 3.
    'fr3': {
        'max_velocity': (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
        'max_acceleration': (10.0,) * 7,
        'max_jerk': (5000.0,) * 7,
        'position_low': (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
        'position_high': (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    },
    # UniversalRobots/Universal_Robots_ROS2_Description, config/ur5e/joint_limits.yaml.
    'ur5e': {
        'max_velocity': (pi,) * 6,
        'max_acceleration': (pi,) * 6,
        'max_jerk': (20 * pi,) * 6,
        'position_low': (-2 * pi, -2 * pi, -pi, -2 * pi, -2 * pi, -2 * pi),
        'position_high': (2 * pi, 2 * pi, pi, 2 * pi, 2 * pi, 2 * pi),
    },
    # xArm-Developer: xarm_ros2, xarm_description, 180 deg/s and the box; xArm-Python-SDK,
    # xarm/x3/base.py, 20 rad/s^2 at most and 20 rad/s^3 unless told otherwise.
    'xarm6': {
        'max_velocity': (pi,) * 6,
        'max_acceleration': (20.0,) * 6,
        'max_jerk': (20.0,) * 6,
        'position_low': (-2 * pi, -2.059, -3.927, -2 * pi, -1.69297, -2 * pi),
        'position_high': (2 * pi, 2.0944, 0.19198, 2 * pi, pi, 2 * pi),
    },
    # Feetech STS3215: 0.222 s for 60 deg; LeRobot sets its acceleration to 254 of 100 steps/s^2,
    # 4096 a turn; box of so101_new_calib.urdf (TheRobotStudio/SO-ARM100).
    'so101': {
        'max_velocity': (radians(60) / 0.222,) * 5,
        'max_acceleration': (25400 * 2 * pi / 4096,) * 5,
        'max_jerk': (20 * 25400 * 2 * pi / 4096,) * 5,
        'position_low': (-1.91986, -1.74533, -1.69, -1.65806, -2.74385),
        'position_high': (1.91986, 1.74533, 1.69, 1.65806, 2.84121),
    },
}


def settings_of(arm: str) -> dict[str, tuple[float, ...]]:
    """Return the settings of the limits of ``arm``, which brakes as hard as it accelerates."""
    limits = {f'limits.{name}': values for name, values in ARMS[arm].items()}
    return {**limits, 'limits.stop_deceleration': limits['limits.max_acceleration']}
