# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows as a policy or a stranger counts them -> rows as the graph has them, and rotations.

Rotations are unit quaternions inside, qx qy qz qw. The 6D of Zhou et al. (arXiv 1812.07035) are two
columns of the matrix, two of its rows, or its first two columns read row by row.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from efficient_vla.columns import (
    FRAMES,
    GRIPPER,
    PER_SECOND,
    POSITION,
    SCALES,
    ColumnLayout,
    Kind,
    Reference,
)
from efficient_vla.types import QUATERNION, ControlMode, InvalidRecordError

EULER = re.compile('euler_([xyz]{3}|[XYZ]{3})')
SIX = ('columns_6d', 'rows_6d', 'interleaved_6d')
REPRESENTATIONS = (
    'rotation_vector',
    'quaternion_xyzw',
    'quaternion_wxyz',
    'euler_xyz (about fixed axes, in that order; euler_XYZ: about those of the body; any order)',
    *SIX,
)
ANGLES = {'x': 'roll', 'y': 'pitch', 'z': 'yaw'}
NORM_TOLERANCE = 0.2
"""A quaternion whose length differs from 1 by more is none."""
SHORTEST = 0.1
"""Two vectors of 6D, or what of the second is across the first, must be longer to span a plane."""
LARGEST_ANGLE = 4 * np.pi
"""More than two turns [rad] are rather degrees."""
IDENTITY = (0.0, 0.0, 0.0, 1.0)


class Form(NamedTuple):
    """Rows as an ``ActionChunk`` has them; the fields are those of it."""

    actions: np.ndarray
    names: tuple[str, ...]
    control_mode: ControlMode
    frame: str
    absolute: tuple[str, ...]


def refuse_representation(name: str) -> str | None:
    """Return why there is no representation of that name, or ``None``."""
    match = EULER.fullmatch(name)
    letters = match[1] if match else 'xyz'
    if (match or name in REPRESENTATIONS) and all(map(str.__ne__, letters, letters[1:])):
        return None
    return f'rotation is {name!r}; expected one of {", ".join(REPRESENTATIONS)}.'


def rotation_names(representation: str) -> tuple[str, ...]:
    """Return what the columns of a representation are called, in their order."""
    if representation == 'rotation_vector':
        return 'rx', 'ry', 'rz'
    if representation.startswith('quaternion'):
        return QUATERNION if representation.endswith('xyzw') else (*QUATERNION[3:], *QUATERNION[:3])
    if representation in SIX:
        return tuple(f'r{k}' for k in range(1, 7))
    letters = representation[-3:].lower()
    if len(set(letters)) < 3:
        return 'angle1', 'angle2', 'angle3'
    return tuple(ANGLES[letter] for letter in letters)


def counts_angles(representation: str) -> bool:
    """Return whether the numbers of a representation are angles [rad]."""
    return representation == 'rotation_vector' or representation.startswith('euler')


def to_quaternions(values: np.ndarray, representation: str) -> np.ndarray:
    """Return unit quaternions [..., 4] of rotations [..., W], angles in rad.

    Raises ``InvalidRecordError`` for values that are no rotation.
    """
    values = np.asarray(values, np.float64)
    width = len(rotation_names(representation))
    if values.shape[-1] != width:
        raise InvalidRecordError(
            f'rotations have {values.shape[-1]} columns; expected {width} for {representation}. '
            'Check the sender.'
        )
    if counts_angles(representation):
        worst = np.abs(values).max(initial=0.0)
        if not worst <= LARGEST_ANGLE:
            raise InvalidRecordError(
                f'a rotation has an angle of {worst:.4g} rad; expected at most two turns. Send '
                'radians, or say that they are degrees.'
            )
    flat = values.reshape(-1, width)
    found: np.ndarray = _rotation(flat, representation).as_quat().reshape(*values.shape[:-1], 4)
    return found


def from_quaternions(quaternions: np.ndarray, representation: str) -> np.ndarray:
    """Return rotations [..., W] of quaternions [..., 4], the inverse of ``to_quaternions``."""
    rotation = Rotation.from_quat(np.reshape(quaternions, (-1, 4)))
    euler = EULER.fullmatch(representation)
    if representation == 'rotation_vector':
        values = rotation.as_rotvec()
    elif representation.startswith('quaternion'):
        values = rotation.as_quat()
        values = np.roll(values, 1, axis=1) if representation.endswith('wxyz') else values
    elif euler:
        values = rotation.as_euler(euler[1], suppress_warnings=True)
    else:
        matrix = rotation.as_matrix()
        if representation == 'columns_6d':
            matrix = matrix.transpose(0, 2, 1)
        part = matrix[:, :, :2] if representation == 'interleaved_6d' else matrix[:, :2]
        values = part.reshape(-1, 6)
    return values.reshape(*np.shape(quaternions)[:-1], -1)


def canonical(layout: ColumnLayout, rows: np.ndarray, start: np.ndarray | None, dt: float) -> Form:
    """Return rows [H, A] of a layout as an ``ActionChunk`` has them.

    ``start`` [A'] is where the robot was observed, in the columns of the form; only those that
    count from the observation are read. ``dt`` [s] is how long a row lasts.
    Raises ``InvalidRecordError`` for what cannot be.
    """
    if not np.isfinite(rows).all():
        raise InvalidRecordError(
            f'action chunk holds {int((~np.isfinite(rows)).sum())} values that are not finite; '
            'expected finite numbers only. Check the sender.'
        )
    rows = np.asarray(rows, np.float64) * np.array([_scale(unit, dt) for unit in layout.units])
    turning = layout.of(Kind.ROTATION)
    if turning:
        _check_rotation(layout, turning)
        quaternions = to_quaternions(rows[:, turning], layout.rotation)
        rows = np.concatenate(
            [rows[:, : turning[0]], quaternions, rows[:, turning[-1] + 1 :]], axis=1
        )
    names, kinds, references = _expanded(layout)
    if layout.frame == 'tool':
        _check_tool(names, kinds, references)
    observed = [names.index(name) for name in observed_names(layout)]
    if observed:
        if start is None:
            raise InvalidRecordError(
                f'columns {", ".join(observed_names(layout))} count from the observation, which is '
                'not there; expected the state of the robot. Send observation_state too.'
            )
        rows[:, observed] = _added(names, rows, start, layout.frame)[:, observed]
        references = [Reference.ABSOLUTE if k in observed else r for k, r in enumerate(references)]
    moves = any(kind in (Kind.POSITION, Kind.ROTATION) for kind in kinds)
    steps = [n for n, r in zip(names, references, strict=True) if r == Reference.ROW]
    absolute = tuple(n for n in names if n not in steps and n != GRIPPER) if steps else ()
    if moves:
        mode = ControlMode.EE_DELTA if steps else ControlMode.EE_POSITION
    else:
        mode = ControlMode.JOINT_DELTA if steps else ControlMode.JOINT_POSITION
    kept = any(name in (*POSITION, *QUATERNION) for name in steps)
    return Form(
        rows.astype(np.float32), tuple(names), mode, layout.frame if kept else FRAMES[0], absolute
    )


def counted(
    layout: ColumnLayout, rows: np.ndarray, start: np.ndarray | None, dt: float
) -> np.ndarray:
    """Return rows [H, A] as a layout counts them, float64, for those of ``canonical`` [H, A']."""
    names, _, _ = _expanded(layout)
    rows = np.array(rows, np.float64)
    turning = layout.of(Kind.ROTATION)
    observed = [names.index(name) for name in observed_names(layout)]
    if observed:
        assert start is not None
        rows[:, observed] = _subtracted(names, rows, start, layout.frame)[:, observed]
    if turning:
        first = turning[0]
        values = from_quaternions(rows[:, first : first + 4], layout.rotation)
        rows = np.concatenate([rows[:, :first], values, rows[:, first + 4 :]], axis=1)
    found: np.ndarray = rows / np.array([_scale(unit, dt) for unit in layout.units])
    return found


def observed_names(layout: ColumnLayout) -> list[str]:
    """Return the columns of the form that count from the observation."""
    names, _, references = _expanded(layout)
    return [n for n, r in zip(names, references, strict=True) if r == Reference.OBSERVATION]


def neutral(layout: ColumnLayout) -> np.ndarray:
    """Return a row of no displacement, float64 [1, A]."""
    row = np.zeros((1, len(layout.names)))
    turning = layout.of(Kind.ROTATION)
    if turning and refuse_representation(layout.rotation) is None:
        row[:, turning] = from_quaternions(np.array([IDENTITY]), layout.rotation)
    return row


def observed_row(layout: ColumnLayout, state: np.ndarray) -> np.ndarray:
    """Return a state [A], counted as a row of a layout is, as absolute rows have it [A']."""
    absolute = replace(
        layout,
        units=tuple(unit.removesuffix(PER_SECOND) for unit in layout.units),
        references=(Reference.ABSOLUTE,) * len(layout.names),
        frame=FRAMES[0],
    )
    return canonical(absolute, state[None], None, 1.0).actions[0].astype(np.float64)


def _expanded(layout: ColumnLayout) -> tuple[list[str], list[Kind], list[Reference]]:
    """Return names, kinds and references with a quaternion for the columns of a rotation."""
    names, kinds, references = list(layout.names), list(layout.kinds), list(layout.references)
    turning = layout.of(Kind.ROTATION)
    if turning:
        part = slice(turning[0], turning[-1] + 1)
        names[part], kinds[part] = QUATERNION, [Kind.ROTATION] * 4
        references[part] = [references[turning[0]]] * 4
    return names, kinds, references


def _scale(unit: str, dt: float) -> float:
    """Return what one of a unit is within a row, in that of the form."""
    plain = unit.removesuffix(PER_SECOND)
    return SCALES.get(plain, 1.0) * (dt if plain != unit else 1.0)


def _added(names: Sequence[str], rows: np.ndarray, start: np.ndarray, frame: str) -> np.ndarray:
    """Return rows [H, A] counted from ``start`` [A] as absolute ones."""
    found: np.ndarray = start + rows
    places = [names.index(name) for name in POSITION if name in names]
    if QUATERNION[0] not in names:
        return found
    turning = [names.index(name) for name in QUATERNION]
    here, turned = Rotation.from_quat(start[turning]), Rotation.from_quat(rows[:, turning])
    if frame == 'tool':
        found[:, turning] = (here * turned).as_quat()
        found[:, places] = start[places] + here.apply(rows[:, places])
    else:
        found[:, turning] = (turned * here).as_quat()
    return found


def _subtracted(
    names: Sequence[str], rows: np.ndarray, start: np.ndarray, frame: str
) -> np.ndarray:
    """Return absolute rows [H, A] as counted from ``start`` [A]."""
    found: np.ndarray = rows - start
    places = [names.index(name) for name in POSITION if name in names]
    if QUATERNION[0] not in names:
        return found
    turning = [names.index(name) for name in QUATERNION]
    back, turned = Rotation.from_quat(start[turning]).inv(), Rotation.from_quat(rows[:, turning])
    if frame == 'tool':
        found[:, turning] = (back * turned).as_quat()
        found[:, places] = back.apply(found[:, places])
    else:
        found[:, turning] = (turned * back).as_quat()
    return found


def _rotation(values: np.ndarray, representation: str) -> Rotation:
    """Return the rotations of [N, W]."""
    euler = EULER.fullmatch(representation)
    if euler:
        return Rotation.from_euler(euler[1], values)
    if representation == 'rotation_vector':
        return Rotation.from_rotvec(values)
    if representation in SIX:
        return Rotation.from_matrix(_matrices(values, representation))
    lengths = np.linalg.norm(values, axis=1)
    off = np.abs(lengths - 1)
    if not (off <= NORM_TOLERANCE).all():
        raise InvalidRecordError(
            f'a quaternion has the length {lengths[off.argmax()]:.4g}; expected 1. Check the '
            'columns and the order of the sender.'
        )
    turned = values if representation.endswith('xyzw') else np.roll(values, -1, axis=1)
    return Rotation.from_quat(turned)


def _matrices(values: np.ndarray, representation: str) -> np.ndarray:
    """Return the matrices [N, 3, 3] of 6D [N, 6], by the process of Gram and Schmidt."""
    spread = representation == 'interleaved_6d'
    first, second = (values[:, ::2], values[:, 1::2]) if spread else (values[:, :3], values[:, 3:])
    one = first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), SHORTEST)
    across = second - (one * second).sum(axis=1, keepdims=True) * one
    lengths = np.stack([np.linalg.norm(first, axis=1), np.linalg.norm(across, axis=1)])
    if not (lengths > SHORTEST).all():
        raise InvalidRecordError(
            f'two vectors of 6D span no plane: the shorter one is {lengths.min():.4g} long across '
            'the other; expected about 1. Check the columns of the sender.'
        )
    two = across / lengths[1][:, None]
    axes = [one, two, np.cross(one, two)]
    return np.stack(axes, axis=-2 if representation == 'rows_6d' else -1)


def _check_rotation(layout: ColumnLayout, turning: list[int]) -> None:
    """Raise ``InvalidRecordError`` unless the columns ``turning`` are one rotation."""
    refused = refuse_representation(layout.rotation)
    if refused:
        raise InvalidRecordError(f'{refused} Check the sender.')
    width = len(rotation_names(layout.rotation))
    if turning != list(range(turning[0], turning[0] + width)):
        raise InvalidRecordError(
            f'{layout.rotation} is in the columns {turning}; expected {width} in a row. Check the '
            'sender.'
        )
    for what, values in (('units', layout.units), ('references', layout.references)):
        if len({values[k] for k in turning}) > 1:
            raise InvalidRecordError(
                f'the columns of a rotation have {what} of several kinds; expected one for all. '
                'Check the sender.'
            )
    unit = layout.units[turning[0]]
    if counts_angles(layout.rotation) == (unit == '1') or (
        unit.endswith(PER_SECOND) and layout.rotation != 'rotation_vector'
    ):
        raise InvalidRecordError(
            f'{layout.rotation} is in {unit!r}; expected rad or deg for angles, rad/s or deg/s for '
            "the rotation vector of an angular velocity, and '1' otherwise. Check the sender."
        )


def _check_tool(
    names: Sequence[str], kinds: Sequence[Kind], references: Sequence[Reference]
) -> None:
    """Raise ``InvalidRecordError`` unless a whole pose counts from where the tool was."""
    pose = {
        reference
        for kind, reference in zip(kinds, references, strict=True)
        if kind in (Kind.POSITION, Kind.ROTATION)
    }
    whole = set(POSITION) | set(QUATERNION) <= set(names)
    if not whole or len(pose) != 1 or Reference.ABSOLUTE in pose:
        raise InvalidRecordError(
            f'columns {", ".join(names)} are in the frame of the tool; expected x, y, z and a '
            'rotation that all count from the row before, or all from the observation. Send the '
            'whole pose, or count in the frame base.'
        )
