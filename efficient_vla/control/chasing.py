# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One number that follows a moving reference within velocity, acceleration and jerk.

A reference that can be met within the tick is met exactly, in position, velocity and acceleration.
Any other is chased in the frame that moves with it, where the target stands still: the plan is
then the fastest interception of a reference of constant velocity (Ruckig, arXiv 2105.04830).
"""

from typing import NamedTuple

from ruckig import InputParameter, Ruckig, RuckigError, Trajectory as Profile

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


class Chaser:
    """Follows references; keeps nothing from one tick to the next."""

    def __init__(self) -> None:
        self._solver = Ruckig(1)
        self._profile = Profile(1)
        self._plan = InputParameter(1)

    def follow(
        self, state: AxisState, limits: AxisLimits, target: AxisState, period: float
    ) -> AxisState:
        """Return the state after ``period`` [s] towards what ``target`` is then."""
        if can_meet(state, limits, target, period):
            return target
        fastest = (1 - HEADROOM) * limits.velocity
        velocity = min(max(target.velocity, -fastest), fastest)
        plan = self._plan
        plan.current_position = [state.position - (target.position - velocity * period)]
        plan.current_velocity = [state.velocity - velocity]
        plan.current_acceleration = [state.acceleration]
        plan.max_velocity = [limits.velocity - velocity]
        plan.min_velocity = [-limits.velocity - velocity]
        plan.max_acceleration = [limits.acceleration]
        plan.max_jerk = [limits.jerk]
        try:
            self._solver.calculate(plan, self._profile)
        except RuckigError:
            # Its numerics fail on rare states at the edge of the limits: slow down for this tick.
            return brake(state, limits.stop, limits.jerk, period)
        (position,), (speed,), (acceleration,) = self._profile.at_time(period)
        return AxisState(target.position + position, velocity + speed, acceleration)


def can_meet(state: AxisState, limits: AxisLimits, target: AxisState, period: float) -> bool:
    """Return whether three equal segments of constant jerk lead onto the reference in a tick."""
    _, speed, acceleration = state
    position, velocity, last = target
    # The velocity that is left once the acceleration of the reference is gone.
    coast = velocity + last * abs(last) / (2 * limits.jerk)
    if abs(last) > limits.acceleration or abs(coast) > limits.velocity * ROUNDING:
        return False
    step = period / 3
    behind = position - velocity * period - state.position
    slower = velocity - speed
    # What the jerks must add to acceleration, velocity and position, in units of the segment.
    rise = (last - acceleration) / step
    gain = (slower - 3 * step * acceleration) / step**2
    way = (behind + 3 * step * slower - 4.5 * step**2 * acceleration) / step**3
    first = way - gain + rise / 3
    second = gain - rise / 2 - 2 * first
    third = rise - first - second
    if max(abs(first), abs(second), abs(third)) > limits.jerk * ROUNDING:
        return False
    early = acceleration + step * first
    late = early + step * second
    if max(abs(early), abs(late)) > limits.acceleration * ROUNDING:
        return False
    early_speed = speed + step * (acceleration + early) / 2
    late_speed = early_speed + step * (early + late) / 2
    # Between the switches the velocity bulges by at most this.
    bulge = max(abs(acceleration), abs(early), abs(late), abs(last)) * step / 4
    fastest = max(abs(early_speed), abs(late_speed), abs(velocity))
    return fastest + bulge <= limits.velocity * ROUNDING
