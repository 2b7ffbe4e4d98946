# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that follow moving references within velocity, acceleration and jerk.

A reference that can be met within the tick is met exactly, in position, velocity and acceleration.
Any other is chased in the frame that moves with it, where the target stands still: the plan is
then the fastest interception of a reference of constant velocity (Ruckig, arXiv 2105.04830).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ruckig import InputParameter, Ruckig, RuckigError, Synchronization, Trajectory as Profile

from efficient_vla.control.braking import AxisState, brake

HEADROOM = 1e-3
"""Fraction of the velocity limit that is left to catch up with a reference at the limit."""
ROUNDING = 1.0 + 1e-9
"""A motion exactly at a limit is inside it."""


class AxisLimits(NamedTuple):
    """Limits of one axis, in the order of ``LimitSettings``."""

    velocity: float
    acceleration: float
    jerk: float
    stop: float
    low: float
    high: float


class Chase(NamedTuple):
    """What one axis is to follow, and how."""

    state: AxisState
    target: AxisState
    limits: AxisLimits
    room: tuple[float, float] = (math.inf, math.inf)
    """It goes faster than the target by at most this, upwards and downwards."""


class Chaser:
    """Follows references; keeps nothing from one tick to the next."""

    def __init__(self, axes: int) -> None:
        self._axes = axes
        self._solver = Ruckig(axes)
        self._profile = Profile(axes)
        self._plan = InputParameter(axes)
        self._plan.synchronization = Synchronization.No
        self._plan.target_position = self._plan.target_velocity = [0.0] * axes

    def follow(self, chases: Sequence[Chase], period: float) -> list[AxisState]:
        """Return the state of each axis after ``period`` [s] towards what its target is then."""
        plan = self._plan
        velocities = [frame_velocity(limits, target) for _, target, limits, _ in chases]
        framed = list(zip(chases, velocities, strict=True))
        plan.current_position = [
            state.position - target.position + velocity * period
            for (state, target, _, _), velocity in framed
        ]
        plan.current_velocity = [state.velocity - velocity for (state, *_), velocity in framed]
        plan.current_acceleration = [state.acceleration for state, *_ in chases]
        plan.max_velocity = [
            min(limits.velocity - velocity, room[0]) for (_, _, limits, room), velocity in framed
        ]
        plan.min_velocity = [
            -min(limits.velocity + velocity, room[1]) for (_, _, limits, room), velocity in framed
        ]
        plan.max_acceleration = [limits.acceleration for _, _, limits, _ in chases]
        plan.max_jerk = [limits.jerk for _, _, limits, _ in chases]
        try:
            self._solver.calculate(plan, self._profile)
        except (RuckigError, ValueError):  # ValueError: a result that the binding cannot name.
            # Its numerics fail on rare states at the edge of the limits: slow down for this tick.
            if self._axes == 1:
                ((state, _, limits, _),) = chases
                return [brake(state, limits.stop, limits.jerk, period)]
            alone = Chaser(1)
            return [alone.follow([chase], period)[0] for chase in chases]
        moved = zip(*self._profile.at_time(period), strict=True)
        return [
            target
            if can_meet(state, limits, target, period)
            else AxisState(target.position + position, velocity + speed, acceleration)
            for ((state, target, limits, _), velocity), (position, speed, acceleration) in zip(
                framed, moved, strict=True
            )
        ]


def frame_velocity(limits: AxisLimits, target: AxisState) -> float:
    """Return the velocity of the frame in which ``target`` is chased."""
    fastest = (1 - HEADROOM) * limits.velocity
    return min(max(target.velocity, -fastest), fastest)


def can_meet(state: AxisState, limits: AxisLimits, target: AxisState, period: float) -> bool:
    """Return whether three equal segments of constant jerk lead onto the reference in a tick."""
    place, speed, acceleration = state
    position, velocity, last = target
    fastest, hardest, most, *_ = limits
    # The velocity that is left once the acceleration of the reference is gone.
    coast = velocity + last * abs(last) / (2 * most)
    if abs(last) > hardest or abs(coast) > fastest * ROUNDING:
        return False
    step = period / 3
    behind = position - velocity * period - place
    slower = velocity - speed
    # What the jerks must add to acceleration, velocity and position, in units of the segment.
    rise = (last - acceleration) / step
    gain = (slower - 3 * step * acceleration) / step**2
    way = (behind + 3 * step * slower - 4.5 * step**2 * acceleration) / step**3
    first = way - gain + rise / 3
    second = gain - rise / 2 - 2 * first
    third = rise - first - second
    # Comparisons in a chain: this runs for each axis in each tick, and calls cost most of it.
    most *= ROUNDING
    if not (-most <= first <= most and -most <= second <= most and -most <= third <= most):
        return False
    early = acceleration + step * first
    late = early + step * second
    hardest *= ROUNDING
    if not (-hardest <= early <= hardest and -hardest <= late <= hardest):
        return False
    early_speed = speed + step * (acceleration + early) / 2
    late_speed = early_speed + step * (early + late) / 2
    # Between the switches the velocity bulges by at most this.
    bulge = max(abs(acceleration), abs(early), abs(late), abs(last)) * step / 4
    spare = fastest * ROUNDING - bulge
    return (
        -spare <= early_speed <= spare
        and -spare <= late_speed <= spare
        and (-spare <= velocity <= spare)
    )
