# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the numbers of an action are: kind, unit and reference of each column; see docs/actions.md.

A ``ColumnLayout`` describes rows as somebody else counts them. Inside the graph rows have one
form, that of ``ActionChunk``: SI units, poses as ``x y z qx qy qz qw`` with unit quaternions,
columns that are absolute or relative to the row before. ``poses.py`` leads from one to the other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from efficient_vla.types import QUATERNION, ActionChunk, ControlMode, InvalidRecordError

GRIPPER = 'gripper'
"""Name of a column that is an effort, from -1, open, to 1, closed; absolute in every row."""
POSITION = ('x', 'y', 'z')
TURNING = ('rx', 'ry', 'rz')
"""Axes by which the quaternion of a command turns, about those of the tool [rad]."""
SCALES = {'rad': 1.0, 'deg': math.pi / 180, 'm': 1.0, 'mm': 1e-3}
"""Unit of a column -> the robot's unit [rad or m] in one of it."""
PER_SECOND = '/s'
FRAMES = ('base', 'tool')
"""What displacements of a pose are counted in: the frame of the robot, or the tool's own."""
EE_MODES = frozenset({ControlMode.EE_DELTA, ControlMode.EE_POSITION, ControlMode.EE_TWIST})
POSITION_MODES = frozenset({ControlMode.JOINT_POSITION, ControlMode.EE_POSITION})
RELATIVE_MODES = frozenset({ControlMode.EE_DELTA, ControlMode.JOINT_DELTA, ControlMode.EE_TWIST})
"""Modes whose rows say how far to go from where the row before led."""


class Kind(IntEnum):
    """What a column moves; the values are those of ``ActionChunk.msg``."""

    UNKNOWN = 0
    JOINT = 1
    """An axis by itself: a joint, the jaw or the width of a gripper [rad or m]."""
    POSITION = 2
    """x, y or z of the end effector [m]."""
    ROTATION = 3
    """Part of the end effector's rotation."""
    GRIPPER = 4
    """Effort of a gripper."""


class Reference(IntEnum):
    """What a column counts from; the values are those of ``ActionChunk.msg``."""

    UNKNOWN = 0
    ABSOLUTE = 1
    ROW = 2
    """From where the row before led, the first row from where the robot was observed."""
    OBSERVATION = 3
    """Every row from where the robot was observed."""


UNITS = {
    Kind.JOINT: ('', *SCALES),
    Kind.POSITION: ('m', 'mm'),
    Kind.ROTATION: ('1', 'rad', 'deg'),
    Kind.GRIPPER: ('effort',),
}
"""Kind -> units that a column of it may have, and those but '1' and effort a second.

'' is rad for joints that turn and m for those that slide; '1' is of quaternions and 6D.
"""


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The columns of rows as somebody counts them; lists have one value a column."""

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    units: tuple[str, ...]
    references: tuple[Reference, ...]
    rotation: str = ''
    """How columns of rotation say it, one of ``poses.REPRESENTATIONS``; empty: there are none."""
    frame: str = FRAMES[0]

    def __post_init__(self) -> None:
        lists = (self.kinds, self.units, self.references)
        if any(len(values) != len(self.names) for values in lists):
            counts = ', '.join(str(len(values)) for values in lists)
            raise InvalidRecordError(
                f'action chunk has kinds, units and references of {counts} columns for the names '
                f'{", ".join(self.names)}; expected one each a name. Check the sender.'
            )
        if self.frame not in FRAMES:
            raise InvalidRecordError(
                f'action chunk has the frame {self.frame!r}; expected {" or ".join(FRAMES)}. '
                'Check the sender.'
            )
        if len(set(self.names)) < len(self.names):
            raise InvalidRecordError(
                f'action chunk has the names {", ".join(self.names)}; expected none twice. Check '
                'the sender.'
            )
        for name, kind, unit, reference in zip(self.names, *lists, strict=True):
            _check(name, kind, unit, reference)
            place = kind == Kind.POSITION
            if place != (name in POSITION) and (place or self.of(Kind.POSITION, Kind.ROTATION)):
                raise InvalidRecordError(
                    f'column {name} is of kind {kind.name}; expected x, y and z for the columns '
                    'of POSITION and for no others beside a pose. Check the sender.'
                )

    def of(self, *kinds: Kind) -> list[int]:
        """Return the columns of some kinds."""
        return [column for column, kind in enumerate(self.kinds) if kind in kinds]


def quaternion_at(names: Sequence[str]) -> int | None:
    """Return where ``names`` have qx, qy, qz and qw side by side, ``None`` where they do not."""
    first = list(names).index(QUATERNION[0]) if QUATERNION[0] in names else 0
    return first if tuple(names[first : first + 4]) == QUATERNION else None


def axes_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the axes of a robot that is commanded by ``names``: a quaternion has three."""
    first = quaternion_at(names)
    if first is not None:
        names = (*names[:first], *TURNING, *names[first + 4 :])
    return tuple(name for name in names if name != GRIPPER)


def motion_columns(names: Sequence[str]) -> np.ndarray:
    """Return the columns of the axes [M]; the three of a quaternion are its first ones."""
    first = quaternion_at(names)
    left = {GRIPPER} | ({QUATERNION[3]} if first is not None else set())
    return np.array([column for column, name in enumerate(names) if name not in left])


def kind_of(name: str) -> Kind:
    """Return what a column of that name is in the rows of a chunk that drives an end effector."""
    if name == GRIPPER:
        return Kind.GRIPPER
    if name in POSITION:
        return Kind.POSITION
    return Kind.ROTATION if name in QUATERNION else Kind.JOINT


def kinds_of(names: Sequence[str], mode: ControlMode) -> tuple[Kind, ...]:
    """Return the kinds of a chunk's columns; of joints any name but the gripper's is one."""
    kinds = tuple(map(kind_of, names))
    if mode in EE_MODES:
        return kinds
    return tuple(kind if kind == Kind.GRIPPER else Kind.JOINT for kind in kinds)


def relative(chunk: ActionChunk) -> np.ndarray:
    """Return which columns count from the row before, bool [A]."""
    told = chunk.control_mode in RELATIVE_MODES
    return np.array([told and n != GRIPPER and n not in chunk.absolute for n in chunk.names])


def layout_of(chunk: ActionChunk) -> ColumnLayout:
    """Return what the columns of a chunk are."""
    kinds = kinds_of(chunk.names, chunk.control_mode)
    speed = PER_SECOND if chunk.control_mode == ControlMode.EE_TWIST else ''
    units = {Kind.JOINT: '', Kind.POSITION: f'm{speed}', Kind.ROTATION: '1'}
    rows = relative(chunk)
    return ColumnLayout(
        chunk.names,
        kinds,
        tuple(units.get(kind, 'effort') for kind in kinds),
        tuple(Reference.ROW if row else Reference.ABSOLUTE for row in rows),
        'quaternion_xyzw' if Kind.ROTATION in kinds else '',
        chunk.frame,
    )


def _check(name: str, kind: Kind, unit: str, reference: Reference) -> None:
    """Raise ``InvalidRecordError`` where a column cannot be what it says."""
    plain = unit.removesuffix(PER_SECOND)
    known = UNITS.get(kind, ())
    speed = plain != unit
    if plain not in known or (speed and plain not in SCALES):
        raise InvalidRecordError(
            f'column {name} is of kind {kind.name} in {unit!r}; expected a kind, and of its units '
            f'{", ".join(map(repr, known)) or "one"}. Check the sender.'
        )
    if reference == Reference.UNKNOWN or (speed and reference != Reference.ROW):
        raise InvalidRecordError(
            f'column {name} in {unit!r} has the reference {reference.name}; expected '
            f'{"ROW, as a velocity has it" if speed else "ABSOLUTE, ROW or OBSERVATION"}. Check '
            'the sender.'
        )
    if (kind == Kind.GRIPPER) != (name == GRIPPER) or (
        kind == Kind.GRIPPER and reference != Reference.ABSOLUTE
    ):
        raise InvalidRecordError(
            f'column {name} is of kind {kind.name} and reference {reference.name}; expected the '
            f'name {GRIPPER} and ABSOLUTE for an effort, and for no other. Call a position or a '
            'width jaw or width, of kind JOINT.'
        )
