# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Joints that bring the tool to a place, near those that it has now.

Damped least squares (Levenberg-Marquardt, Sugihara, IEEE Transactions on Robotics 27(5), 2011): the
damping falls with the error, so that steps are short where no joints reach the place and Newton's
near the end. Joints near their range move little towards its end, and never past it.
"""

from typing import NamedTuple

import eigenpy
import numpy as np
import pinocchio as pin

from efficient_vla.control.kinematics.arm import ArmModel

RADIAN = 0.1
"""A turn of the tool by one radian counts as an error of so much [m]."""
EXACT = 1e-5
"""An error below this is none [m]."""
MOST_STEPS = 30
STALLED = 0.9
"""A step that leaves more than this share of the least error has led too far or nowhere."""
MOST_STALLS = 5
LEAST_DAMPING = 1e-7
DAMPING = 0.5
LONGEST_STEP = 0.3
"""No joint turns by more in a step: beyond, the Jacobian says nothing [rad]."""
NEAR_END = 0.1
"""A joint this near to the end of its range hardly moves towards it [rad]."""


class Found(NamedTuple):
    """What was found for one place."""

    joints: np.ndarray
    """[M]."""
    error: float
    """How far the tool is off [m], see ``RADIAN``."""
    spread: float
    """Smallest singular value of the Jacobian: how slow the tool is in the direction in which it is
    slowest, for joints of unit speed; 0 at a singularity."""


def reach(
    arm: ArmModel,
    target: pin.SE3,
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    rotates: bool = True,
    drift: np.ndarray | None = None,
) -> Found:
    """Return the joints near ``start`` [M] within ``low`` and ``high`` that lead to ``target``.

    Where the tool ``rotates`` freely, its place alone counts. ``drift`` [M] is a motion of the
    joints that is made as far as it does not move the tool.
    """
    joints, stalls = start, 0
    best, least, square = start, np.inf, np.empty(0)
    for step in range(MOST_STEPS + 1):
        error, jacobian = _error(arm, target, joints, rotates)
        size = _size(error)
        stalls += size > STALLED * least
        if size < least or (step == 1 and drift is not None):
            best, least, square = joints, size, jacobian @ jacobian.T
        done = size < EXACT and (step > 0 or drift is None)
        if done or stalls >= MOST_STALLS or step == MOST_STEPS:
            break
        damping = (DAMPING * float(error @ error) + LEAST_DAMPING) * 10.0**stalls
        wish = drift if drift is not None and step == 0 else None
        move = _move(jacobian, error, damping, wish)
        room = np.where(move > 0, high - joints, joints - low)
        if (room < NEAR_END).any():
            share = np.clip(room / NEAR_END, 0.0, 1.0)
            weighed = jacobian * share
            move = share * _move(weighed, error, damping, wish)
        longest = max(map(abs, move.tolist()))
        if longest > LONGEST_STEP:
            move *= LONGEST_STEP / longest
        joints = np.minimum(np.maximum(joints + move, low), high)
    # Of fewer joints than rows some directions are never free, which is no singularity.
    never = max(len(square) - len(joints), 0)
    smallest = float(eigenpy.SelfAdjointEigenSolver(square).eigenvalues()[never])
    return Found(best, least, max(smallest, 0.0) ** 0.5)


def _error(
    arm: ArmModel, target: pin.SE3, joints: np.ndarray, rotates: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the way to ``target`` in the tool's own frame and the Jacobian, 3 or 6 rows each."""
    place, jacobian = arm.moves(joints)
    if not rotates:
        return place.rotation.T @ (target.translation - place.translation), jacobian[:3]
    return pin.log6(place.actInv(target)).vector, jacobian


def _size(error: np.ndarray) -> float:
    way = float(error[:3] @ error[:3])
    turn = float(error[3:] @ error[3:])
    return max(way**0.5, RADIAN * turn**0.5)


def _move(
    jacobian: np.ndarray,
    error: np.ndarray,
    damping: float,
    drift: np.ndarray | None,
) -> np.ndarray:
    """Return the joints' motion that takes ``error`` away, and ``drift`` where it is free to."""
    solver = eigenpy.LDLT(jacobian @ jacobian.T + damping * np.eye(len(jacobian)))
    if drift is None:
        found: np.ndarray = jacobian.T @ solver.solve(error)
        return found
    drifted: np.ndarray = drift + jacobian.T @ solver.solve(error - jacobian @ drift)
    return drifted
