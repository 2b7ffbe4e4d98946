# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Axes that make up for a leap together, so that the way to the reference is straight.

Each axis is chased for itself, with as much of its limits as it has of the leap: so all of them do
the same in the same time. What an axis has of it is a proportion that stays the same on a straight
way, and a way that is not quite straight gets no worse.
"""

from collections.abc import Sequence

from efficient_vla.control.braking import AxisState
from efficient_vla.control.chasing import ROUNDING, AxisLimits, Chase, frame_velocity

PART = 1e-3
"""An axis with less than this of the leap of another one takes no part in it."""
STILL = 1e-9
"""No leap is shorter than this [m or rad]."""
ROOM = 0.05
"""An axis with less than this of its speed to spare, since the reference moves as fast as it may,
holds no other one up."""


def in_step(
    states: Sequence[AxisState],
    limits: Sequence[AxisLimits],
    targets: Sequence[AxisState],
    period: float,
) -> list[Chase]:
    """Return how each axis is to be chased so that all go straight together.

    ``targets`` is where the reference will be in ``period`` [s].
    """
    ramp = max(axis.acceleration / axis.jerk for axis in limits)
    leaps = [
        _leap(state, target, ramp, period) for state, target in zip(states, targets, strict=True)
    ]
    # By how much each axis may be faster than its target the way it leaps, and backwards.
    rooms = []
    for leap, axis, target in zip(leaps, limits, targets, strict=True):
        along = frame_velocity(axis, target) if leap > 0 else -frame_velocity(axis, target)
        rooms.append((axis.velocity - along, axis.velocity + along))
    free = [
        abs(leap) if min(room) > ROOM * axis.velocity else 0.0
        for leap, axis, room in zip(leaps, limits, rooms, strict=True)
    ]
    least = max(PART * max(free), STILL)
    part = [member for member in zip(free, limits, rooms, strict=True) if member[0] > least]
    if len(part) < 2:
        return [Chase(*each) for each in zip(states, targets, limits, strict=True)]
    acceleration = min([axis.acceleration / leap for leap, axis, _ in part])
    jerk = min([axis.jerk / leap for leap, axis, _ in part])
    onward = min([room[0] / leap for leap, _, room in part])
    back = min([room[1] / leap for leap, _, room in part])
    chases = []
    for leap, share, state, target, axis in zip(leaps, free, states, targets, limits, strict=True):
        # What the reference itself needs is not the leap's.
        own = min(abs(target.acceleration) / axis.acceleration, 1.0)
        softer = min(share * jerk + own * axis.jerk, axis.jerk)
        if share <= least or not _keeps_its_speed(state, axis, softer):
            chases.append(Chase(state, target, axis))
            continue
        most = min(share * acceleration + own * axis.acceleration, axis.acceleration)
        soft = AxisLimits(axis.velocity, most, softer, axis.stop, axis.low, axis.high)
        room = (share * onward, share * back)
        chases.append(Chase(state, target, soft, room if leap > 0 else room[::-1]))
    return chases


def _leap(state: AxisState, target: AxisState, ramp: float, period: float) -> float:
    """Return by how much an axis is off its reference; of place, speed and its change the most."""
    wanted, velocity, acceleration = target
    position, speed, change = state
    leap = wanted - period * (velocity - period / 2 * acceleration) - position
    faster = ramp * (velocity - period * acceleration - speed)
    if abs(faster) > abs(leap):
        leap = faster
    change = ramp * ramp * (acceleration - change)
    return change if abs(change) > abs(leap) else leap


def _keeps_its_speed(state: AxisState, limits: AxisLimits, jerk: float) -> bool:
    """Return whether ``jerk`` ends the acceleration before the axis is too fast."""
    _, velocity, acceleration = state
    coast = velocity + acceleration * abs(acceleration) / (2 * jerk)
    return abs(coast) <= limits.velocity * ROUNDING
