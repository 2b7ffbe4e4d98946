# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The way of the joints along a way of the tool, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from efficient_vla.control.kinematics.arm import ArmModel
from efficient_vla.control.kinematics.checks import Finding
from efficient_vla.control.kinematics.inverse import RADIAN, Found, reach

SINGULAR = 0.05
"""A tool that joints move so slowly in some direction is near a singularity, see ``Found``."""
LEAP = 0.5
"""A joint that turns by more within a row leaves the tool's path between the rows [rad or m]."""
STRIDE = 0.02
"""The way to the first of absolute rows is gone in steps of so much [m], see ``RADIAN``."""
MOST_STRIDES = 100
KICK = 0.1
"""An arm that is stretched out leaves that posture by so much [rad]."""
DRIFT_RATE = 1.0
"""Share of the way to the posture that joints drift in a second where they are free to."""
FASTEST_DRIFT = 0.2
"""The drift moves no joint faster than this [rad/s]."""
AT_END = 1e-6
"""A joint so near to the end of its range is at it [rad or m]."""


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """What the arm is to do and within what; arrays have one value a joint, [M]."""

    start: np.ndarray
    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray
    posture: np.ndarray
    dt: float
    rotates: bool
    """Whether the tool's rotation counts."""
    tolerance: float
    """Error from which on a place is not reached [m]."""


def follow(
    arm: ArmModel, places: Sequence[pin.SE3], way: Way, leads: bool
) -> tuple[np.ndarray, Finding | None]:
    """Return the joints at each of ``places`` [H, M], fewer where one cannot be followed.

    The finding says which one, or which is slow. With ``leads`` the rows are a path of their own,
    to whose first row a way leads from the start.
    """
    joints, before = way.start, way.start
    rows: list[np.ndarray] = []
    slow: Finding | None = None
    for row, place in enumerate(places):
        if row == 0 and leads:
            joints = before = _lead(arm, place, way)
        found = _reach(arm, place, joints, 2 * joints - before, way)
        finding = _judge(arm, row, found, joints, way)
        if finding is not None and finding.stops:
            return np.array(rows).reshape(-1, len(joints)), finding
        slow = slow or finding
        before, joints = joints, found.joints
        rows.append(joints)
    return np.array(rows), slow


def _reach(arm: ArmModel, place: pin.SE3, joints: np.ndarray, guess: np.ndarray, way: Way) -> Found:
    """Return the joints near ``joints`` [M] for ``place``; ``guess`` [M] is where they may be."""
    drift = None
    if len(joints) > (6 if way.rotates else 3):
        drift = DRIFT_RATE * way.dt * (way.posture - joints)
        drift = np.clip(drift, -FASTEST_DRIFT * way.dt, FASTEST_DRIFT * way.dt)
    guess = np.minimum(np.maximum(guess, way.low), way.high)
    found = reach(arm, place, guess, way.low, way.high, way.rotates, drift)
    if found.error <= way.tolerance:
        return found
    # Where the arm is stretched out no small motion shortens it; either bend does.
    for kick in (KICK, -KICK):
        bent = joints + kick * np.sign((way.low + way.high) / 2 - joints + 1e-12)
        bent = np.minimum(np.maximum(bent, way.low), way.high)
        other = reach(arm, place, bent, way.low, way.high, way.rotates)
        if other.error <= way.tolerance:
            return other
    return found


def _lead(arm: ArmModel, place: pin.SE3, way: Way) -> np.ndarray:
    """Return the joints [M] at or near ``place``, to which they go step by step."""
    begin = arm.place(way.start)
    far = np.linalg.norm(place.translation - begin.translation)
    turn = RADIAN * np.linalg.norm(pin.log3(begin.rotation.T @ place.rotation))
    steps = min(int(max(far, turn) / STRIDE) + 1, MOST_STRIDES)
    joints = way.start
    for step in range(1, steps):
        between = pin.SE3.Interpolate(begin, place, step / steps)
        joints = _reach(arm, between, joints, joints, way).joints
    return joints


def _judge(arm: ArmModel, row: int, found: Found, before: np.ndarray, way: Way) -> Finding | None:
    """Return what stands against going from ``before`` [M] to what was ``found`` for ``row``."""
    if found.error > way.tolerance:
        ends = (found.joints - way.low < AT_END) | (way.high - found.joints < AT_END)
        off = f'row {row} is {found.error * 1e3:.3g} mm beyond what the arm reaches'
        if ends.any():
            names = ', '.join(n for n, end in zip(arm.joints, ends, strict=True) if end)
            return Finding('joint_limit', row, f'{off}: {names} at the end of the range')
        return Finding('unreachable', row, off)
    turns = np.abs(found.joints - before)
    singular = found.spread < SINGULAR
    worst = int(turns.argmax())
    if turns[worst] > LEAP:
        text = f'row {row} turns {arm.joints[worst]} by {turns[worst]:.3g} at once; expected {LEAP}'
        if singular:
            return Finding('singularity', row, text)
        return Finding('unreachable', row, f'{text}. Send rows closer to one another')
    speeds = turns / way.dt
    over = speeds / way.velocity
    worst = int(over.argmax())
    if not singular or over[worst] <= 1:
        return None
    text = (
        f'row {row} asks for {speeds[worst]:.3g} a second of {arm.joints[worst]}, whose limit is '
        f'{way.velocity[worst]:.3g}; it is executed more slowly'
    )
    return Finding('singularity', row, text, stops=False)
