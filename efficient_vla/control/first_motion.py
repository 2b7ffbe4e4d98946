# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the first chunk after enabling can be meant for the robot as it stands.

The first row of a policy is where the robot goes within one row from rest: near where it is. A row
that is elsewhere is of another unit, order, sign or reference, and each of these mistakes says
where the row would be instead. The one that explains the row is named before anything moves.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from efficient_vla.columns import POSITION_MODES
from efficient_vla.control.angles import unwrapped
from efficient_vla.control.contract import JOINT_MODES
from efficient_vla.control.settings import ControllerSettings, axes
from efficient_vla.joint_settings import is_gripper
from efficient_vla.types import ActionChunk

NEAR_ANGLE, NEAR_LENGTH = 0.01, 0.001
"""A row so near to the robot, beside what the robot covers in it, says nothing [rad and m]."""
LIKELY, CERTAIN = 0.25, 0.05
"""A mistake explains a row where at most this share of the square of its distance is left: the
first where the robot covers what is left in the row, the other one in any case."""
LEAST_TURN = 0.1
"""The sign of a joint that is nearer to its zero cannot be told [rad or m]."""
GRIPPER_ROOM = 0.1
"""Share of its range that a finger's position may be beyond an end."""


class Mistake(NamedTuple):
    """Where the first row would be of a sender who makes a mistake, and the words for it."""

    row: np.ndarray
    """[M]."""
    what: str
    remedy: str


def refuse_start(
    chunk: ActionChunk,
    motion: np.ndarray,
    held: np.ndarray,
    settings: ControllerSettings,
    continuous: np.ndarray,
) -> str | None:
    """Return why the first row cannot follow where the robot stands, or ``None``.

    ``motion`` [M] are the columns of the axes, ``held`` [M] is where the robot stands, and
    ``continuous`` [M] says which axes turn without an end.
    """
    names = [chunk.names[column] for column in motion]
    arm = np.array([not is_gripper(n) and n not in chunk.absolute for n in names], bool)
    turns = chunk.control_mode in JOINT_MODES
    near, allowed = (
        (NEAR_ANGLE, settings.contract.first_angle)
        if turns
        else (NEAR_LENGTH, settings.contract.first_length)
    )
    rows = chunk.actions[:, motion].astype(np.float64)
    covered = near + np.array(axes(settings.limits.max_velocity, len(held))) * chunk.dt
    positions = chunk.control_mode in POSITION_MODES
    if positions:
        rows = unwrapped(rows, held, continuous)
    row, place = rows[0, arm], held[arm]
    arms = [name for name, one in zip(names, arm, strict=True) if one]
    away = np.abs(row - (place if positions else 0.0))
    if not (away > covered[arm]).any():
        return _fingers(rows, names, settings) if turns and positions else None
    worst = int(away.argmax())
    begins = (
        f'the first row has {row[worst]:.4g} for {arms[worst]}, where the robot is at '
        f'{place[worst]:.4g}'
    )
    found = likely(row, rows[-1, arm], place, arms, covered[arm], positions, turns)
    if found:
        return f'{begins}: {found.what}. {found.remedy}'
    if positions and away[worst] > allowed:
        unit, parameter = ('rad', 'first_angle') if turns else ('m', 'first_length')
        return (
            f'{begins}; expected at most {allowed:g} {unit} between them. Bring the robot to where '
            'its demonstrations began, correct joints.offset of that column, or raise '
            f'contract.{parameter}.'
        )
    return _fingers(rows, names, settings) if turns and positions else None


def likely(
    row: np.ndarray,
    last: np.ndarray,
    place: np.ndarray,
    names: Sequence[str],
    covered: np.ndarray,
    positions: bool = True,
    turns: bool = False,
) -> Mistake | None:
    """Return the mistake that explains a first ``row`` [M] of a robot at ``place`` [M], if any.

    ``last`` [M] is the last row, ``covered`` [M] how far the robot gets in one; ``positions`` says
    that rows are where to go, and ``turns`` that they are angles.
    """
    found = min(
        _mistakes(row, last, place, names, positions, turns),
        key=lambda mistake: float(np.square(row - mistake.row).sum()),
    )
    rest = np.abs(row - found.row)
    away = row - (place if positions else 0.0)
    share = float(np.square(rest).sum() / np.square(away).sum())
    explains = share <= CERTAIN or (share <= LIKELY and (rest <= covered).all())
    return found if explains else None


def _mistakes(
    row: np.ndarray,
    last: np.ndarray,
    place: np.ndarray,
    names: Sequence[str],
    positions: bool,
    turns: bool,
) -> Iterator[Mistake]:
    """Return what a sender may have mistaken for the ``place`` [M] or a step of the robot.

    ``row`` [M] is the first one and ``last`` [M] is the last.
    """
    if not positions:
        yield Mistake(
            place,
            'that is a position, taken for a displacement or a velocity',
            'Correct the mode of the actions, joints.mode.',
        )
        return
    yield Mistake(
        np.zeros_like(row),
        'that is a displacement, taken for a position',
        'Correct the mode of the actions, joints.mode.',
    )
    unit = 'Correct the unit of the actions, joints.unit.'
    if turns:
        yield Mistake(np.degrees(place), 'those are degrees, taken for radians', unit)
        yield Mistake(np.radians(place), 'those are radians, taken for degrees', unit)
    else:
        yield Mistake(place * 1e3, 'those are millimetres, taken for metres', unit)
        yield Mistake(place / 1e3, 'those are metres, taken for millimetres', unit)
    # As far off as the last row is from the robot.
    yield Mistake(
        row - (last - place),
        'the last row is where the robot is: the rows are in reverse order of time',
        'Send the row first that comes first.',
    )
    order = 'Correct the order of the columns, joints.names.'
    yield Mistake(place[::-1], 'the columns are in reverse order', order)
    for first, second in combinations(range(len(row)), 2):
        swapped = place.copy()
        swapped[[first, second]] = place[[second, first]]
        what = f'{names[first]} and {names[second]} are swapped'
        yield Mistake(swapped, what, order)
    for index, name in enumerate(names):
        turned = place.copy()
        turned[index] *= -1
        if abs(place[index]) > LEAST_TURN:
            yield Mistake(
                turned, f'the sign of {name} is the other one', 'Correct its sign, joints.sign.'
            )
        if turns:
            yield from _shifted(place, index, name)


def _shifted(place: np.ndarray, index: int, name: str) -> Iterator[Mistake]:
    """Return the zeros of a joint that are quarter, half and full turns away."""
    for degrees in (-360, -180, -90, 90, 180, 360):
        moved = place.copy()
        moved[index] += math.radians(degrees)
        remedy = (
            'It turned a full turn: name joints without an end in continuous, or unwrap the '
            'angles of the policy.'
            if abs(degrees) == 360
            else 'Correct its zero, joints.offset.'
        )
        yield Mistake(moved, f'the zero of {name} is {degrees} degrees away', remedy)


def _fingers(rows: np.ndarray, names: Sequence[str], settings: ControllerSettings) -> str | None:
    """Return that positions [H, M] of fingers leave their range, such as percent, or ``None``."""
    limits = settings.limits
    lows, highs = (axes(v, len(names)) for v in (limits.position_low, limits.position_high))
    for values, name, low, high in zip(rows.T, names, lows, highs, strict=True):
        room = GRIPPER_ROOM * (high - low)
        worst = values[np.abs(values - (low + high) / 2).argmax()]
        if is_gripper(name) and not low - room <= worst <= high + room:
            return (
                f'chunk has {worst:.4g} for {name}; expected {low:g} to {high:g}, '
                'limits.position_low to position_high. It is likely in percent or in another '
                'unit: correct joints.unit, joints.low and joints.high.'
            )
    return None
