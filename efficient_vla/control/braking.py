# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The shortest way to stand still under a deceleration and a jerk limit, for one axis.

Closed form, so that stopping works whatever state the robot is in. A brake that is interrupted
and started again goes on where it was: its end depends on the state alone. That makes it safe to
move on for a tick whenever the brake from there still ends inside the box.
"""

from typing import NamedTuple

ROUNDING_S = 1e-9
"""A phase that is over but for this is over [s]."""


class AxisState(NamedTuple):
    """Position, velocity and acceleration of one axis."""

    position: float
    velocity: float
    acceleration: float


Phase = tuple[float, float]
"""Jerk and its duration [s]."""


def brake_phases(velocity: float, acceleration: float, limit: float, jerk: float) -> list[Phase]:
    """Return the jerk phases that take velocity and acceleration to zero in the least time."""
    coast = velocity + acceleration * abs(acceleration) / (2 * jerk)
    if coast < 0:
        return [(-j, time) for j, time in brake_phases(-velocity, -acceleration, limit, jerk)]
    # ``coast`` is the speed left once the acceleration is gone; here it points forward.
    peak = min((max(jerk * velocity + acceleration**2 / 2, 0.0)) ** 0.5, limit)
    ramp = acceleration + peak
    after_ramp = velocity + (acceleration**2 - peak**2) / (2 * jerk) * (1 if ramp >= 0 else -1)
    plateau = (after_ramp - peak**2 / (2 * jerk)) / peak if peak > 0 else 0.0
    return [
        (-jerk if ramp >= 0 else jerk, abs(ramp) / jerk),
        (0.0, max(plateau, 0.0)),
        (jerk, peak / jerk),
    ]


def advance(state: AxisState, jerk: float, time: float) -> AxisState:
    """Return the state after ``time`` of constant jerk."""
    position, velocity, acceleration = state
    return AxisState(
        position + time * (velocity + time * (acceleration / 2 + time * jerk / 6)),
        velocity + time * (acceleration + time * jerk / 2),
        acceleration + time * jerk,
    )


def brake(state: AxisState, limit: float, jerk: float, time: float) -> AxisState:
    """Return the state after ``time`` of braking; exactly at rest once the brake has ended."""
    position, velocity, acceleration = state
    for phase_jerk, duration in brake_phases(velocity, acceleration, limit, jerk):
        if time < duration - ROUNDING_S:
            return advance(AxisState(position, velocity, acceleration), phase_jerk, time)
        position += duration * (
            velocity + duration * (acceleration / 2 + duration * phase_jerk / 6)
        )
        velocity += duration * (acceleration + duration * phase_jerk / 2)
        acceleration += duration * phase_jerk
        time -= duration
    return AxisState(position, 0.0, 0.0)


def brake_span(state: AxisState, limit: float, jerk: float) -> tuple[float, float, float]:
    """Return the lowest and highest position on the way to standing still, and its time [s]."""
    position, velocity, acceleration = state
    phases = brake_phases(velocity, acceleration, limit, jerk)
    low = high = position
    spare = acceleration**2 - 2 * jerk * abs(velocity)
    if velocity * acceleration < 0 and spare > 0:
        # The acceleration outlasts the velocity: the axis turns around before it stops.
        turn = 2 * abs(velocity) / (abs(acceleration) + spare**0.5)
        low = high = advance(state, -jerk if acceleration > 0 else jerk, turn).position
    total = 0.0
    for phase_jerk, duration in phases:
        position += duration * (
            velocity + duration * (acceleration / 2 + duration * phase_jerk / 6)
        )
        velocity += duration * (acceleration + duration * phase_jerk / 2)
        acceleration += duration * phase_jerk
        total += duration
    begin = state.position
    return min(begin, low, position), max(begin, high, position), total
