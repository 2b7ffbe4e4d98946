# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Set-points that follow a moving reference within velocity, acceleration, jerk and a box.

Through all set-points runs one motion in continuous time that keeps every limit, whatever the
jitter of the ticks. The reference keeps the limits by itself, see ``pace.py``; what does not, such
as a leap, is chased, straight where that is possible, see ``straight.py``. The limits of each axis
are the last guard.

Axes brake together: each as softly as the one that takes longest, so that a robot on a straight
line comes to rest on it.

Axes are planned in plain floats: for so few numbers that is several times faster than arrays.
"""

import math
from collections.abc import Sequence
from itertools import repeat

import numpy as np

from efficient_vla.control.braking import AxisState, brake, brake_phases, brake_span
from efficient_vla.control.chasing import ROUNDING, AxisLimits, Chaser, can_meet
from efficient_vla.control.norms import VelocityNorm, coasting, keeps, shared
from efficient_vla.control.settings import LimitSettings, axes
from efficient_vla.control.straight import in_step
from efficient_vla.settings import InvalidSettingError

FIRMER = (1.0, 1.02, 1.2)
"""An axis that is not quite on a line with the others brakes by so much more, to be in time."""
STILL = 1e-9
"""An axis with less of the motion than this brakes by itself [m/s or rad/s]."""


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

    norms: tuple[VelocityNorm, ...] = ()
    """Limits of several axes together."""

    def __init__(
        self, settings: LimitSettings, position: np.ndarray, endless: slice | None = None
    ) -> None:
        """Stand at ``position`` [M]; axes that are ``endless`` have no box."""
        self._endless = range(len(position))[endless] if endless else ()
        self._chaser = Chaser(len(position))
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
        limits = [AxisLimits(*row) for row in zip(*columns, strict=True)]
        for axis in self._endless:
            limits[axis] = limits[axis]._replace(low=-math.inf, high=math.inf)
        return limits

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
        states = self._states
        targets = list(map(_inside, limits, reference.T.tolist()))
        for norm in self.norms:
            limits = shared(norm, limits, states, targets)
        limits = self._counted(limits, states, targets)
        moved = targets
        if not all(map(can_meet, states, limits, targets, repeat(period))):
            moved = self._chaser.follow(in_step(states, limits, targets, period), period)
        moved = [
            after
            if _can_stop_inside(after, axis, state.position)
            else brake(state, axis.stop, axis.jerk, period)
            for state, axis, after in zip(states, limits, moved, strict=True)
        ]
        for norm in self.norms:
            if not keeps(norm, states, moved, [axis.jerk for axis in limits], period):
                for k in norm.axes:
                    moved[k] = brake(states[k], limits[k].stop, limits[k].jerk, period)
        self._take(moved)

    def brake(self, period: float) -> None:
        """Move for ``period`` seconds on the way to standing still."""
        states, limits = self._states, self._limits
        moved = [
            brake(state, stop, jerk, period)
            for state, (stop, jerk) in zip(states, self._brakes(states), strict=True)
        ]
        # From a way that is softer the brake of the next tick may be another one.
        self._take(
            [
                after
                if _can_stop_inside(after, axis, state.position)
                else brake(state, axis.stop, axis.jerk, period)
                for state, axis, after in zip(states, limits, moved, strict=True)
            ]
        )

    def rest(
        self, position: np.ndarray, velocity: np.ndarray, acceleration: np.ndarray
    ) -> np.ndarray:
        """Return where the brake from a motion, each [M], ends [M]."""
        fastest = np.array([axis.velocity for axis in self._limits])
        rows = np.array([position, np.clip(velocity, -fastest, fastest), acceleration]).T.tolist()
        states = [AxisState(*row) for row in rows]
        ends = [
            brake(state, stop, jerk, math.inf).position
            for state, (stop, jerk) in zip(states, self._brakes(states), strict=True)
        ]
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
        braked = list(zip(self._states, self._brakes(self._states), strict=True))
        end = max(
            sum(time for _, time in brake_phases(state.velocity, state.acceleration, stop, jerk))
            for state, (stop, jerk) in braked
        )
        times = np.linspace(0.0, end, points + 1 if end > 0 else 1)
        path = [
            [brake(state, stop, jerk, time) for state, (stop, jerk) in braked]
            for time in times.tolist()
        ]
        return times, np.array(path).transpose(0, 2, 1)

    def _brakes(self, states: list[AxisState]) -> list[tuple[float, float]]:
        """Return with which deceleration and jerk each axis stops from ``states``.

        An axis brakes by as much of its limits as it has of the motion, which keeps the direction;
        one that would leave the box, be too fast or stand last brakes with all it has.
        """
        limits = self._counted(self._limits, states, states)
        own = [(axis.stop, axis.jerk) for axis in limits]
        ramps = [stop / jerk for stop, jerk in own]
        ramp = max(ramps)
        shares = [max(abs(state.velocity), abs(state.acceleration) * ramp) for state in states]
        moving = [
            (share, *limit) for share, limit in zip(shares, own, strict=True) if share > STILL
        ]
        if len(moving) < 2:
            return own
        stop = min(limit / share for share, limit, _ in moving)
        jerk = min(limit / share for share, _, limit in moving)
        # Where one axis sets the deceleration and another one the jerk, straight takes longer.
        longest = max(map(_brake_time, states, own)) + ramp - min(ramps) + ROUNDING - 1
        brakes = []
        for state, axis, share, (most, jerkiest) in zip(states, limits, shares, own, strict=True):
            softer = [
                (min(stop * share * more, most), min(jerk * share * more, jerkiest))
                for more in FIRMER
                if share > STILL
            ]
            may = (soft for soft in softer if _may_brake(state, axis, soft, longest))
            brakes.append(next(may, (most, jerkiest)))
        jerks = [jerk for _, jerk in brakes]
        for norm in self.norms:
            if coasting(norm, states, jerks) > max(
                norm.velocity * ROUNDING, coasting(norm, states, [jerk for _, jerk in own])
            ):
                for k in norm.axes:
                    brakes[k] = own[k]
        return brakes

    def _counted(
        self,
        limits: list[AxisLimits],
        states: Sequence[AxisState],
        targets: Sequence[AxisState],
    ) -> list[AxisLimits]:
        """Return ``limits`` where a rotation that stands has those of another axis.

        So it takes no part in how the others go together.
        """
        endless = self._endless
        if not endless or any(states[k] != (targets[k].position, 0.0, 0.0) for k in endless):
            return limits
        if any(states[k] != targets[k] for k in endless) or len(endless) == len(limits):
            return limits
        other = limits[0 if endless[0] else len(endless)]
        return [other if k in endless else axis for k, axis in enumerate(limits)]

    def _take(self, states: list[AxisState]) -> None:
        self._states = states
        self.position = np.array([state.position for state in states])
        self.velocity = np.array([state.velocity for state in states])


def _inside(limits: AxisLimits, target: list[float]) -> AxisState:
    """Return the ``target`` of an axis, or to stand at the edge of the box instead."""
    position, velocity, acceleration = target
    if limits.low <= position <= limits.high:
        return AxisState(position, velocity, acceleration)
    return AxisState(min(max(position, limits.low), limits.high), 0.0, 0.0)


def _brake_time(state: AxisState, brakes: tuple[float, float]) -> float:
    """Return how long an axis brakes with a deceleration and a jerk [s]."""
    (_, first), (_, second), (_, last) = brake_phases(state.velocity, state.acceleration, *brakes)
    return first + second + last


def _reach(state: AxisState, stop: float, jerk: float) -> float:
    """Return a way that no brake of such a deceleration and jerk is longer than.

    The exact one, ``brake_span``, costs more.
    """
    _, velocity, acceleration = state
    ramp = abs(acceleration) / jerk
    speed = abs(velocity) + abs(acceleration) * ramp / 2
    return speed * (ramp + speed / stop + stop / jerk)


def _may_brake(
    state: AxisState, limits: AxisLimits, brakes: tuple[float, float], longest: float
) -> bool:
    """Return whether softer ``brakes`` keep the box and the velocity, and end in ``longest``."""
    position, speed, change = state
    coast = speed + change * abs(change) / (2 * brakes[1])
    if abs(coast) > max(limits.velocity * ROUNDING, abs(speed)):
        return False
    if _brake_time(state, brakes) > longest:
        return False
    reach = _reach(state, *brakes)
    if limits.low <= position - reach and position + reach <= limits.high:
        return True
    lowest, highest, _ = brake_span(state, *brakes)
    return min(limits.low, position) <= lowest and highest <= max(limits.high, position)


def _can_stop_inside(state: AxisState, limits: AxisLimits, before: float) -> bool:
    """Return whether braking from ``state`` stays inside the box.

    An axis outside the box, such as after the box shrank, may only come back from ``before``.
    """
    low, high = min(limits.low, before), max(limits.high, before)
    reach = _reach(state, limits.stop, limits.jerk)
    if low <= state.position - reach and state.position + reach <= high:
        return True
    lowest, highest, _ = brake_span(state, limits.stop, limits.jerk)
    return low <= lowest and highest <= high
