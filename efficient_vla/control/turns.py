# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the rotations of a chunk can be meant for the robot as it stands, and for its limits."""

import math

import numpy as np

from efficient_vla.columns import POSITION, relative
from efficient_vla.control.contract import TOO_FAST
from efficient_vla.control.first_motion import CERTAIN, LIKELY, NEAR_ANGLE
from efficient_vla.control.rotations import (
    UNTURNED,
    Quaternion,
    between,
    inverse,
    log,
    normalised,
    product,
)
from efficient_vla.types import QUATERNION, ActionChunk

MODE = 'Correct the mode of the actions, joints.mode.'
DISPLACED = ('that is how far it turns, taken for where to', MODE)
PLACED = ('that is an orientation, taken for how far it turns', MODE)
ROTATION = 'Correct the rotation of the sender, joints.rotation.'


def refuse_mixed(chunk: ActionChunk) -> str | None:
    """Return that some columns of a pose are absolute and others are not, or ``None``."""
    pose = {*POSITION, *QUATERNION} & set(chunk.names)
    absolute = pose & set(chunk.absolute)
    if absolute in (set(), pose):
        return None
    return (
        f'chunk has the absolute columns {", ".join(chunk.absolute)} beside displacements; '
        'expected the tool to be moved by one of both. Send all of its pose alike.'
    )


def refuse_turning(chunk: ActionChunk, columns: slice, fastest: float) -> str | None:
    """Return that the rows turn far faster than ``fastest`` [rad/s], or ``None``."""
    rows = chunk.actions[:, columns].astype(np.float64).T
    turns = log(tuple(rows))
    if not relative(chunk)[columns.start]:
        turns = log(product(inverse(tuple(rows[:, :-1])), tuple(rows[:, 1:])))
    angle = float(np.linalg.norm(turns, axis=0).sum())
    asked = angle / (len(chunk.actions) * chunk.dt)
    if asked <= TOO_FAST * fastest:
        return None
    return (
        f'chunk turns by {asked:.4g} rad a second; expected at most {TOO_FAST:g} times the '
        f'{fastest:.4g} rad/s that limits.max_velocity lets the tool turn. Correct the dt or the '
        'unit of the policy.'
    )


def refuse_first_turn(
    chunk: ActionChunk, columns: slice, held: Quaternion, fastest: float, allowed: float
) -> str | None:
    """Return why the first row cannot follow a tool that is turned as ``held``, or ``None``.

    The tool turns at most at ``fastest`` [rad/s]; the first row of orientations is at most
    ``allowed`` [rad] away.
    """
    row: Quaternion = normalised(chunk.actions[0, columns].astype(np.float64).tolist())
    steps = bool(relative(chunk)[columns.start])
    covered = NEAR_ANGLE + fastest * chunk.dt
    away = angle(UNTURNED if steps else held, row)
    if away <= covered:
        return None
    rest, what, remedy = (angle(held, row), *PLACED) if steps else mistaken(row, held)
    share = (rest / away) ** 2
    begins = f'the first row is turned by {away:.4g} rad from where the robot stands'
    if share <= CERTAIN or (share <= LIKELY and rest <= covered):
        return f'{begins}: {what}. {remedy}'
    if not steps and away > allowed:
        return (
            f'{begins}; expected at most {allowed:g} rad. Bring the robot to where its '
            'demonstrations began, correct joints.rotation, or raise contract.first_angle.'
        )
    return None


def mistaken(row: Quaternion, held: Quaternion) -> tuple[float, str, str]:
    """Return how ``row`` is most likely mistaken by a tool that is turned as ``held``.

    That is what is left of the way between them without the mistake [rad], the mistake and its
    remedy.
    """
    x, y, z, w = row
    other = 'its rotation is the inverse one, of the base in the tool'
    return min(
        (angle(UNTURNED, row), *DISPLACED),
        (
            angle(held, (y, z, w, x)),
            'its quaternion has w first, taken for one with w last',
            ROTATION,
        ),
        (angle(held, inverse(row)), other, ROTATION),
    )


def angle(one: Quaternion, other: Quaternion) -> float:
    """Return the angle between two orientations [rad]."""
    return math.hypot(*between(one, other))
