# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the numbers of a chunk are of the kind and unit that the robot is commanded in."""

import math
from typing import NamedTuple

import numpy as np

from efficient_vla.columns import GRIPPER, quaternion_at, relative
from efficient_vla.control.angles import unwrapped
from efficient_vla.control.settings import LimitSettings, axes
from efficient_vla.joint_settings import ROTATION_WORDS, is_gripper
from efficient_vla.types import QUATERNION, ActionChunk, ControlMode

JOINT_MODES = frozenset({ControlMode.JOINT_POSITION, ControlMode.JOINT_DELTA})
TRANSLATION = frozenset({'x', 'y', 'z'})
EFFORT_TOLERANCE = 1e-3
"""Rounding of a chunk's float32."""
TOO_FAST = 10.0
"""Rows that ask for so many times the velocity limit are not fast but in another unit."""
REACH_S = 1.0
"""The way to the first row may take so long, at that speed, where the chunk is shorter."""
BEYOND = math.pi
"""Displacements that lead out of the range by more than this, or its size, are in another unit."""


def refuse_kind(chunk: ActionChunk, names: tuple[str, ...]) -> str | None:
    """Return why the control mode does not fit a robot with command ``names``, or ``None``."""
    listed = ', '.join(names)
    pose = TRANSLATION if quaternion_at(names) is None else TRANSLATION | {*QUATERNION}
    moved = set(names) - {GRIPPER}
    turning = [name for name in names if name in ROTATION_WORDS - pose]
    if turning and moved > TRANSLATION:
        return (
            f'the robot is commanded by {listed}; expected qx, qy, qz and qw side by side for the '
            f'rotation of the end effector, or none. Drop {", ".join(turning)} from names.'
        )
    translates = moved <= pose or moved >= TRANSLATION
    if translates == (chunk.control_mode in JOINT_MODES):
        expected = 'an EE mode' if translates else 'a JOINT mode'
        return (
            f'chunk has control mode {chunk.control_mode.name}; expected {expected} for a robot '
            f'that is commanded by {listed}.'
        )
    return None


def refuse_effort(chunk: ActionChunk) -> str | None:
    """Return that the gripper is not an effort from -1, open, to 1, closed, or ``None``."""
    if GRIPPER not in chunk.names:
        return None
    efforts = chunk.actions[:, chunk.names.index(GRIPPER)]
    worst = float(efforts[np.abs(efforts).argmax()])
    if abs(worst) <= 1 + EFFORT_TOLERANCE:
        return None
    return (
        f'chunk has {worst:g} for the gripper; expected an effort from -1, open, to 1, closed. '
        'Scale the gripper of the policy; gripper_values sets what the robot gets for both ends.'
    )


def refuse_unit(
    chunk: ActionChunk,
    motion: np.ndarray,
    held: np.ndarray,
    limits: LimitSettings,
    continuous: np.ndarray,
) -> str | None:
    """Return why the rows can hardly be in the robot's unit, or ``None``.

    ``motion`` [M] are the columns of the axes, ``held`` [M] is the present set-point, and
    ``continuous`` [M] says which axes turn without an end.
    """
    steps = relative(chunk)[motion]  # [M]
    velocity, low, high = (
        np.array(axes(values, len(motion)))
        for values in (limits.max_velocity, limits.position_low, limits.position_high)
    )
    names = [chunk.names[column] for column in motion]
    rows = chunk.actions[:, motion].astype(np.float64)
    told = _Told(names, rows, held, velocity, low, high, continuous)
    refused = None if steps.all() else _refuse_places(chunk, told.of(~steps))
    return refused or (_refuse_steps(chunk, told.of(steps)) if steps.any() else None)


class _Told(NamedTuple):
    """What is known of some axes."""

    names: list[str]
    rows: np.ndarray
    """[H, M]."""
    held: np.ndarray
    """[M], as all below."""
    velocity: np.ndarray
    low: np.ndarray
    high: np.ndarray
    continuous: np.ndarray

    def of(self, some: np.ndarray) -> '_Told':
        """Return what is known of those that are true in ``some`` [M]."""
        names = [name for name, one in zip(self.names, some, strict=True) if one]
        return _Told(names, self.rows[:, some], *(values[some] for values in self[2:]))


def _refuse_places(chunk: ActionChunk, told: _Told) -> str | None:
    """Return why rows that say where to go can hardly be in the robot's unit, or ``None``."""
    joints = chunk.control_mode in JOINT_MODES
    names, low, high, speed = told.names, told.low, told.high, TOO_FAST * told.velocity
    rows = unwrapped(told.rows, told.held, told.continuous)
    moves, seam = (
        _turns(d) if joints else np.abs(d) for d in (np.diff(rows, axis=0), rows[0] - told.held)
    )
    room = high - low
    for k in np.flatnonzero(((rows < low - room) | (rows > high + room)).any(axis=0)):
        return _mismatch(
            f'chunk goes to {rows[np.abs(rows[:, k]).argmax(), k]:.4g} on {names[k]}',
            f'positions near limits.position_low {low[k]:g} to position_high {high[k]:g}',
            joints,
        )
    for k in np.flatnonzero(seam > speed * max(len(rows) * chunk.dt, REACH_S)):
        return _mismatch(
            f'chunk begins {seam[k]:.4g} from the set-point on {names[k]}',
            f'a way that limits.max_velocity {told.velocity[k]:g} can cover',
            joints,
        )
    return _refuse_speed(chunk, told, moves.sum(axis=0) / len(rows))


def _refuse_steps(chunk: ActionChunk, told: _Told) -> str | None:
    """Return why rows that say how far to go can hardly be in the robot's unit, or ``None``."""
    steps = told.rows * (chunk.dt if chunk.control_mode == ControlMode.EE_TWIST else 1.0)
    fast = _refuse_speed(chunk, told, np.abs(steps).max(axis=0))
    if fast:
        return fast
    # A hand may push on where it has closed.
    ends = np.array([not is_gripper(name) for name in told.names], bool) & ~told.continuous
    places = told.held + np.cumsum(steps, axis=0)
    room = np.minimum(told.high - told.low, BEYOND)
    beyond = ((places < told.low - room) | (places > told.high + room)).any(axis=0)
    for k in np.flatnonzero(beyond & ends):
        return _mismatch(
            f'chunk adds up to {steps[:, k].sum():.4g} on {told.names[k]}, which is at '
            f'{told.held[k]:.4g}',
            f'to stay near limits.position_low {told.low[k]:g} to position_high {told.high[k]:g}',
            chunk.control_mode in JOINT_MODES,
            ', or its rows count from the observation, not from the row before',
        )
    return None


def _refuse_speed(chunk: ActionChunk, told: _Told, moves: np.ndarray) -> str | None:
    """Return why ``moves`` [M] in a row are too much, or ``None``."""
    asked = moves / chunk.dt
    for k in np.flatnonzero(asked > TOO_FAST * told.velocity):
        return _mismatch(
            f'chunk asks for {asked[k]:.4g} a second on {told.names[k]}',
            f'at most {TOO_FAST:g} times limits.max_velocity {told.velocity[k]:g}',
            chunk.control_mode in JOINT_MODES,
        )
    return None


def _turns(difference: np.ndarray) -> np.ndarray:
    """Return the size of differences of angles, where a full turn more or less is none."""
    size = np.abs(difference)
    return np.where(size <= 2 * math.pi + 0.5, np.minimum(size, np.abs(2 * math.pi - size)), size)


def _mismatch(found: str, expected: str, joints: bool, cause: str = '') -> str:
    return (
        f'{found}; expected {expected}. Its values are likely in another unit, such as degrees or '
        f'millimetres{cause}: send {"rad or m" if joints else "m"}.'
    )
