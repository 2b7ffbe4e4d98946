# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the first pose after enabling can be meant for the tool as it stands.

For robots of joints whose chunks say where the tool is to go: a mistake of the sender is named by
what it says of the tool, not by what it would mean for the joints.
"""

import numpy as np

from efficient_vla.columns import POSITION
from efficient_vla.control.first_motion import NEAR_LENGTH, likely
from efficient_vla.control.rotations import normalised
from efficient_vla.control.turns import angle, mistaken

SPEED = 1.0
"""A tool covers at most so much on the way to its first row [m/s]."""
FASTEST = 5.0
"""No row of displacements moves a tool faster [m/s]."""
TELLING = 0.25
"""A mistake explains a turn of which it leaves at most this share."""


def refuse_pose(
    first: np.ndarray,
    last: np.ndarray,
    place: np.ndarray,
    dt: float,
    length: float,
    angle: float,
) -> str | None:
    """Return why the pose ``first`` [3 or 7] cannot follow the tool's ``place`` [7], or ``None``.

    ``last`` is the pose of the last row, which comes later by more than ``dt`` [s]; a pose is x, y,
    z [m] and, of 7 numbers, a quaternion. It may be ``length`` [m] and ``angle`` [rad] away.
    """
    away = np.abs(first[:3] - place[:3])
    worst = int(away.argmax())
    begins = (
        f'the first row has {first[worst]:.4g} for {POSITION[worst]}, where the tool is at '
        f'{place[worst]:.4g}'
    )
    covered = np.full(3, NEAR_LENGTH + SPEED * dt)
    if (away > covered).any():
        found = likely(first[:3], last[:3], place[:3], POSITION, covered)
        if found:
            return f'{begins}: {found.what}. {found.remedy}'
        if away[worst] > length:
            return (
                f'{begins}; expected at most {length:g} m between them. Bring the '
                'robot to where its demonstrations began, correct kinematics.base and '
                'kinematics.tool, or raise contract.first_length.'
            )
    return _refuse_turn(first[3:], place[3:], angle) if len(first) > 3 else None


def refuse_steps(steps: np.ndarray, dt: float) -> str | None:
    """Return why displacements [H, 3] of the tool can hardly be in metres, or ``None``."""
    speed = float(np.linalg.norm(steps, axis=1).max()) / dt
    if speed <= FASTEST:
        return None
    return (
        f'chunk moves the tool at {speed:.4g} m/s; expected at most {FASTEST:g}. Its values are '
        'likely in millimetres, or its rows count from the observation, not from the row before: '
        'send m.'
    )


def _refuse_turn(first: np.ndarray, place: np.ndarray, allowed: float) -> str | None:
    row, held = (normalised(values.tolist()) for values in (first, place))
    turn = angle(held, row)
    if turn <= allowed:
        return None
    begins = f'the first row turns the tool by {turn:.3g} rad'
    rest, what, remedy = mistaken(row, held)
    if rest <= min(TELLING * turn, allowed):
        return f'{begins}: {what}. {remedy}'
    return (
        f'{begins}; expected at most {allowed:g}. Correct joints.rotation or kinematics.tool, '
        'bring the robot to where its demonstrations began, or raise contract.first_angle.'
    )
