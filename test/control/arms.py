# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Arms that people own, as their descriptions have them, and what their makers publish beside.

``urdf`` is lower, upper and velocity of each joint [rad, rad/s], ``joint_limits`` what MoveIt's
file adds, and ``profile`` what neither says. A jerk that nobody publishes is such that the
acceleration is reached within 50 ms.
"""

from math import pi, radians

from efficient_vla.bringup.robot_limits import completed


def turns(*names, **kinds):
    """Return a joint_limits.yaml that limits each of ``names``."""
    lines = ['joint_limits:']
    for k, name in enumerate(names):
        lines.append(f'  {name}:')
        for kind, values in kinds.items():
            value = values[k] if isinstance(values, tuple) else values
            lines += [f'    has_{kind}_limits: true', f'    max_{kind}: {value}']
    return '\n'.join(lines)


def joints(count, prefix='joint'):
    return tuple(f'{prefix}{k + 1}' for k in range(count))


PANDA = joints(7, 'panda_joint')
UR = ('shoulder_pan', 'shoulder_lift', 'elbow', 'wrist_1', 'wrist_2', 'wrist_3')
UR = tuple(f'{name}_joint' for name in UR)
SO101 = ('shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll')
SERVO = 25400 * 2 * pi / 4096
FRANKA = (-2.8973, 2.8973)
ARMS = {
    # moveit/moveit_resources, panda_description and joint_limits_jerk_limited.yaml; the jerk is
    # that of frankarobotics.github.io, Robot and interface specifications.
    'panda': {
        'urdf': dict(
            zip(
                PANDA,
                [
                    (*FRANKA, 2.3925),
                    (-1.7628, 1.7628, 2.3925),
                    (*FRANKA, 2.3925),
                    (-3.0718, -0.0698, 2.3925),
                    (*FRANKA, 2.871),
                    (-0.0175, 3.7525, 2.871),
                    (*FRANKA, 2.871),
                ],
                strict=True,
            )
        ),
        'joint_limits': turns(
            *PANDA,
            velocity=(2.175,) * 4 + (2.61,) * 3,
            acceleration=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
        ),
        'profile': {'limits.max_jerk': (7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0)},
    },
    # frankaemika/franka_description, robots/fr3/joint_limits.yaml, which its URDF is made of; the
    # same page, limits of Franka Research 3.
    'fr3': {
        'urdf': dict(
            zip(
                joints(7, 'fr3_joint'),
                [
                    (-2.7437, 2.7437, 2.62),
                    (-1.7837, 1.7837, 2.62),
                    (-2.9007, 2.9007, 2.62),
                    (-3.0421, -0.1518, 2.62),
                    (-2.8065, 2.8065, 5.26),
                    (0.5445, 4.5169, 4.18),
                    (-3.0159, 3.0159, 5.26),
                ],
                strict=True,
            )
        ),
        'profile': {'limits.max_acceleration': (10.0,), 'limits.max_jerk': (5000.0,)},
    },
    # UniversalRobots/Universal_Robots_ROS2_Description, config/ur5e/joint_limits.yaml.
    'ur5e': {
        'urdf': {
            name: (-end, end, pi)
            for name, end in zip(UR, (2 * pi, 2 * pi, pi, 2 * pi, 2 * pi, 2 * pi), strict=True)
        },
        'joint_limits': turns(*UR, velocity='!degrees 180.0', acceleration='!degrees 180.0'),
        'profile': {'limits.max_jerk': (20 * pi,)},
    },
    # xArm-Developer/xarm_ros2, xarm_description and xarm_moveit_config/config/xarm6; acceleration
    # and jerk of xArm-Python-SDK, xarm/x3/base.py.
    'xarm6': {
        'urdf': dict(
            zip(
                joints(6),
                [
                    (-2 * pi, 2 * pi, pi),
                    (-2.059, 2.0944, pi),
                    (-3.927, 0.19198, pi),
                    (-2 * pi, 2 * pi, pi),
                    (-1.69297, pi, pi),
                    (-2 * pi, 2 * pi, pi),
                ],
                strict=True,
            )
        ),
        'joint_limits': turns(*joints(6), velocity=2.14),
        'profile': {'limits.max_acceleration': (20.0,), 'limits.max_jerk': (20.0,)},
    },
    # TheRobotStudio/SO-ARM100, so101_new_calib.urdf. Feetech STS3215: 0.222 s for 60 deg; LeRobot
    # sets its acceleration to 254 of 100 steps/s^2, 4096 a turn.
    'so101': {
        'urdf': dict(
            zip(
                SO101,
                [
                    (-1.91986, 1.91986, 10.0),
                    (-1.74533, 1.74533, 10.0),
                    (-1.69, 1.69, 10.0),
                    (-1.65806, 1.65806, 10.0),
                    (-2.79253, 2.79253, 10.0),
                ],
                strict=True,
            )
        ),
        'profile': {
            'limits.max_velocity': (radians(60) / 0.222,),
            'limits.max_acceleration': (SERVO,),
            'limits.max_jerk': (20 * SERVO,),
        },
    },
}


def urdf_of(arm):
    """Return the joints of ``arm`` as its URDF has them."""
    rows = [
        f'<joint name="{name}" type="revolute">'
        f'<limit lower="{low}" upper="{high}" velocity="{velocity}" effort="9"/></joint>'
        for name, (low, high, velocity) in ARMS[arm]['urdf'].items()
    ]
    return f'<robot name="{arm}">{"".join(rows)}</robot>'


def names_of(arm):
    return tuple(ARMS[arm]['urdf'])


def settings_of(arm, folder):
    """Return the limits of ``arm`` as settings; its joint_limits.yaml is written to ``folder``."""
    own = ARMS[arm]
    values = {'names': names_of(arm), 'robot_description': urdf_of(arm), **own['profile']}
    if 'joint_limits' in own:
        path = folder / f'{arm}.yaml'
        path.write_text(own['joint_limits'])
        values['joint_limits'] = str(path)
    return {name: value for name, value in completed(values).items() if name.startswith('limits.')}
