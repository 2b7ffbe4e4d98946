# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Descriptions of arms for tests: planar ones, and chains with the published figures of two arms.

UR5e: a, d and alpha of Universal Robots' table of DH parameters. Panda: a, d and alpha of Franka's
table (Craig's convention). Links are capsules along their way, thinner than those of the arms.
"""

from collections.abc import Sequence

import numpy as np

from efficient_vla.control.kinematics.checks import Ranges
from efficient_vla.control.kinematics.kinematics import Kinematics
from efficient_vla.control.kinematics.settings import CollisionSettings, KinematicsSettings
from efficient_vla.types import ActionChunk, ControlMode

QUARTER = np.pi / 2
UR5E = [
    # x, y, z of the joint in the link before, turn about its x
    ((0.0, 0.0, 0.1625), 0.0),
    ((0.0, 0.0, 0.0), QUARTER),
    ((-0.425, 0.0, 0.0), 0.0),
    ((-0.3922, 0.0, 0.1333), 0.0),
    ((0.0, -0.0997, 0.0), QUARTER),
    ((0.0, 0.0996, 0.0), -QUARTER),
]
UR5E_HOME = np.array([0.3, -1.2, 1.5, -1.9, -1.57, 0.4])
PANDA = [
    ((0.0, 0.0, 0.333), 0.0),
    ((0.0, 0.0, 0.0), -QUARTER),
    ((0.0, -0.316, 0.0), QUARTER),
    ((0.0825, 0.0, 0.0), QUARTER),
    ((-0.0825, 0.384, 0.0), -QUARTER),
    ((0.0, 0.0, 0.0), QUARTER),
    ((0.088, 0.0, 0.0), QUARTER),
]
PANDA_RANGES = [
    (-2.8973, 2.8973), (-1.7628, 1.7628), (-2.8973, 2.8973), (-3.0718, -0.0698),
    (-2.8973, 2.8973), (-0.0175, 3.7525), (-2.8973, 2.8973),
]  # fmt: skip
PANDA_HOME = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785])


def chain(
    joints: Sequence[tuple[tuple[float, float, float], float]],
    tool: tuple[float, float, float],
    ranges: Sequence[tuple[float, float]] = (),
    radius: float = 0.03,
    axis: str = '0 0 1',
) -> str:
    """Return a URDF whose joints j0, j1, ... turn about ``axis`` of their own frame."""
    ends = [place for place, _ in joints[1:]] + [tool]
    found = ['<robot name="test"><link name="base"/>']
    for k, ((place, turn), end) in enumerate(zip(joints, ends, strict=True)):
        low, high = ranges[k] if ranges else (-6.28, 6.28)
        parent = f'l{k - 1}' if k else 'base'
        found.append(
            f'<link name="l{k}">{_capsule(f"l{k}", end, radius)}</link>'
            f'<joint name="j{k}" type="revolute"><parent link="{parent}"/>'
            f'<child link="l{k}"/><origin xyz="{_text(place)}" rpy="{turn} 0 0"/>'
            f'<axis xyz="{axis}"/><limit lower="{low}" upper="{high}" velocity="3" effort="9"/>'
            '</joint>'
        )
    last = len(joints) - 1
    found.append(
        f'<link name="tool"/><joint name="flange" type="fixed"><parent link="l{last}"/>'
        f'<child link="tool"/><origin xyz="{_text(tool)}"/></joint></robot>'
    )
    return ''.join(found)


def ur5e() -> str:
    return chain(UR5E, (0.0, 0.0, 0.1))


def panda() -> str:
    return chain(PANDA, (0.0, 0.0, 0.2), PANDA_RANGES)


def planar(links: int = 2, length: float = 0.5, reach: float = 6.28) -> str:
    """Return an arm in the plane z = 0 of ``links`` of ``length`` [m]."""
    joints = [((length if k else 0.0, 0.0, 0.0), 0.0) for k in range(links)]
    return chain(joints, (length, 0.0, 0.0), [(-reach, reach)] * links)


def forward(
    joints: Sequence[tuple[tuple[float, float, float], float]],
    tool: tuple[float, float, float],
    angles: np.ndarray,
) -> np.ndarray:
    """Return the place of the tool [4, 4], by the table and no library."""
    place = np.eye(4)
    for (origin, turn), angle in zip(joints, angles, strict=True):
        about_x, about_z = np.eye(4), np.eye(4)
        about_x[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        about_x[:3, 3] = origin
        about_z[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        place = place @ about_x @ about_z
    place[:3, 3] += place[:3, :3] @ np.array(tool)
    return place


def make(text: str, joints: int, **settings: object) -> Kinematics:
    """Return the kinematics of j0, j1, ... and a gripper; ``settings`` of both groups."""
    own = {k: v for k, v in settings.items() if k in KinematicsSettings.__dataclass_fields__}
    other = {k: v for k, v in settings.items() if k not in own}
    names = (*(f'j{k}' for k in range(joints)), 'gripper')
    return Kinematics(text, names, KinematicsSettings(**own), CollisionSettings(**other))


def ranges(joints: int, velocity: float = 3.0, reach: float = 6.28) -> Ranges:
    return Ranges(
        np.full(joints, -reach),
        np.full(joints, reach),
        np.full(joints, velocity),
        np.full(joints, 1e3),
        np.full(joints, 1e6),
        np.zeros(joints, bool),
    )


def rows_of(
    rows: np.ndarray, mode: ControlMode = ControlMode.EE_DELTA, dt: float = 0.05
) -> ActionChunk:
    """Return a chunk of ``rows`` [H, 3] with a gripper that closes more with every row."""
    gripper = np.linspace(-1, 1, len(rows))[:, None]
    actions = np.concatenate([rows, gripper], axis=1).astype(np.float32)
    return ActionChunk(actions, dt, ('x', 'y', 'z', 'gripper'), mode, stamp=0.0)


def joints_of(chunk: ActionChunk, anchor: np.ndarray) -> np.ndarray:
    """Return where the joints of a chunk are at the ends of its rows [H, M]."""
    rows = chunk.actions[:, : len(anchor)].astype(np.float64)
    return (
        anchor + np.cumsum(rows, axis=0) if chunk.control_mode == ControlMode.JOINT_DELTA else rows
    )


def _capsule(link: str, end: tuple[float, float, float], radius: float) -> str:
    """Return a capsule from the origin to ``end``, which the library makes of a cylinder."""
    length = float(np.linalg.norm(end))
    if length < 0.05:
        return ''
    x, y, z = np.divide(end, length)
    pitch, yaw = float(np.arctan2(np.hypot(x, y), z)), float(np.arctan2(y, x))
    middle = _text(np.divide(end, 2))
    return (
        f'<collision name="{link}"><origin xyz="{middle}" rpy="0 {pitch} {yaw}"/><geometry>'
        f'<cylinder radius="{radius}" length="{length}"/></geometry></collision>'
        f'<collision_checking><capsule name="{link}"/></collision_checking>'
    )


def _text(values: Sequence[float] | np.ndarray) -> str:
    return ' '.join(f'{value:.9g}' for value in values)
