# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points that follow a moving reference within velocity, acceleration, jerk and a box.

Through all set-points runs one motion in continuous time that keeps every limit, whatever the
jitter of the ticks. A reference that can be met within the tick is met exactly, in position,
velocity and acceleration. Any other is chased in the frame that moves with it, where the target
stands still: the plan is then the fastest interception of a reference of constant velocity
(Ruckig, arXiv 2105.04830).

Axes are planned one by one in plain floats: for so few numbers that is several times faster than
arrays.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ruckig import InputParameter, Ruckig, RuckigError, Trajectory as Profile

from efficient_vla.control.braking import AxisState, brake, brake_phases, brake_range
from efficient_vla.control.settings import LimitSettings, axes
from efficient_vla.settings import InvalidSettingError

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


def outside(
    names: Sequence[str], places: np.ndarray, limits: list[AxisLimits], tolerance: float = 0.0
) -> str:
    """Return which axes are outside of the box by more than ``tolerance``, in words, or ''."""
    return ', '.join(
        f'{name} is at {place:.4g}, outside of {axis.low:.4g} to {axis.high:.4g}'
        for name, place, axis in zip(names, places.tolist(), limits, strict=True)
        if not axis.low - tolerance <= place <= axis.high + tolerance
    )


class Limiter:
    """The set-point's motion state, and the two ways to move it: follow and brake."""

    def __init__(self, settings: LimitSettings, position: np.ndarray) -> None:
        self._solver = Ruckig(1)
        self._profile = Profile(1)
        self._plan = InputParameter(1)
        self.hold(position)
        self.configure(settings)

    def configure(self, settings: LimitSettings) -> None:
        """Apply other limits from the next tick on; the motion state stays.

        Raises ``InvalidSettingError`` when they do not fit the axes, and then changes nothing.
        """
        self._limits = self.checked(settings)

    def checked(self, settings: LimitSettings) -> list[AxisLimits]:
        """Return the limits of each axis; raises ``InvalidSettingError`` where they do not fit."""
        count = len(self._states)
        columns = []
        for name in LimitSettings.__dataclass_fields__:
            value = getattr(settings, name)
            if len(value) not in (1, count):
                raise InvalidSettingError(
                    f'limits.{name} has {len(value)} values; expected one, or one for each of '
                    f'{count} axes.'
                )
            columns.append(axes(value, count))
        return [AxisLimits(*row) for row in zip(*columns, strict=True)]

    def hold(self, position: np.ndarray, edge: float = 0.0) -> None:
        """Stand still at ``position`` [M], or inside the box where it is less than ``edge`` off."""
        places = position.tolist()
        if edge > 0:
            inside = [
                min(max(p, axis.low), axis.high)
                for p, axis in zip(places, self._limits, strict=True)
            ]
            places = [q if abs(q - p) <= edge else p for p, q in zip(places, inside, strict=True)]
        self._take([AxisState(place, 0.0, 0.0) for place in places])

    @property
    def at_rest(self) -> bool:
        """Whether velocity and acceleration are zero."""
        return all(state.velocity == 0 == state.acceleration for state in self._states)

    @property
    def motion(self) -> np.ndarray:
        """Position, velocity and acceleration of the set-point [3, M]."""
        return np.array(self._states).T

    def follow(self, reference: np.ndarray, period: float, speed: float = 1.0) -> None:
        """Move for ``period`` seconds towards a reference.

        ``reference`` is what its position, velocity and acceleration are then [3, M]; ``speed`` is
        the fraction of the velocity limits that may be used.
        """
        limits = self._limits
        if speed < 1:
            limits = [axis._replace(velocity=speed * axis.velocity) for axis in limits]
        self._take(
            [
                self._follow_axis(state, axis, AxisState(*target), period)
                for state, axis, target in zip(
                    self._states, limits, reference.T.tolist(), strict=True
                )
            ]
        )

    def brake(self, period: float) -> None:
        """Move for ``period`` seconds on the way to standing still."""
        self._take(
            [
                brake(state, limits.stop, limits.jerk, period)
                for state, limits in zip(self._states, self._limits, strict=True)
            ]
        )

    def rest(
        self, position: np.ndarray, velocity: np.ndarray, acceleration: np.ndarray
    ) -> np.ndarray:
        """Return where the brake from a motion, each [M], ends [M]."""
        ends = []
        for state, limits in zip(
            zip(position, velocity, acceleration, strict=True), self._limits, strict=True
        ):
            place, speed, change = map(float, state)
            speed = min(max(speed, -limits.velocity), limits.velocity)
            moving = AxisState(place, speed, change)
            ends.append(brake(moving, limits.stop, limits.jerk, math.inf).position)
        return np.array(ends)

    @property
    def limits(self) -> list[AxisLimits]:
        """The limits of each axis."""
        return self._limits

    def brake_path(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the way from here to standing still, without moving.

        Times from now [P], the last one at rest, and positions, velocities and accelerations at
        them [P, 3, M]; P is ``points`` and the present, or 1 where the axes stand still.
        """
        axes_of = list(zip(self._states, self._limits, strict=True))
        end = max(
            sum(time for _, time in brake_phases(state.velocity, state.acceleration, stop, jerk))
            for state, (_, _, jerk, stop, _, _) in axes_of
        )
        times = np.linspace(0.0, end, points + 1 if end > 0 else 1)
        path = [
            [brake(state, limits.stop, limits.jerk, time) for state, limits in axes_of]
            for time in times.tolist()
        ]
        return times, np.array(path).transpose(0, 2, 1)

    def _take(self, states: list[AxisState]) -> None:
        self._states = states
        self.position = np.array([state.position for state in states])
        self.velocity = np.array([state.velocity for state in states])

    def _follow_axis(
        self, state: AxisState, limits: AxisLimits, target: AxisState, period: float
    ) -> AxisState:
        if not limits.low <= target.position <= limits.high:
            target = AxisState(min(max(target.position, limits.low), limits.high), 0.0, 0.0)
        if _can_meet(state, limits, target, period):
            moved = target
        else:
            moved = self._chase(state, limits, target, period)
        if _can_stop_inside(moved, limits, state.position):
            return moved
        return brake(state, limits.stop, limits.jerk, period)

    def _chase(
        self, state: AxisState, limits: AxisLimits, target: AxisState, period: float
    ) -> AxisState:
        """Return the state after a tick of the fastest way to the reference."""
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


def _can_meet(state: AxisState, limits: AxisLimits, target: AxisState, period: float) -> bool:
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


def _can_stop_inside(state: AxisState, limits: AxisLimits, before: float) -> bool:
    """Return whether braking from ``state`` stays inside the box.

    An axis outside the box, such as after the box shrank, may only come back from ``before``.
    """
    low, high = min(limits.low, before), max(limits.high, before)
    # No brake takes longer or moves further than this; the exact answer costs more.
    ramp = abs(state.acceleration) / limits.jerk
    speed = abs(state.velocity) + abs(state.acceleration) * ramp / 2
    reach = speed * (ramp + speed / limits.stop + limits.stop / limits.jerk)
    if low <= state.position - reach and state.position + reach <= high:
        return True
    lowest, highest = brake_range(state, limits.stop, limits.jerk)
    return low <= lowest and highest <= high
