# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One limit for the velocity of several axes together, such as that of a hand in x, y and z.

Once a motion is within the limit, the brake from it is, too, where axes count with the velocity
that they have, or will have when their acceleration has ended: a brake makes none of them faster.
So a set-point that would not be within it may always brake instead.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from efficient_vla.columns import POSITION, TURNING
from efficient_vla.control.braking import AxisState
from efficient_vla.control.chasing import ROUNDING, AxisLimits
from efficient_vla.control.settings import ToolSettings


def tool_norms(settings: ToolSettings, names: Sequence[str]) -> tuple['VelocityNorm', ...]:
    """Return the limits of a hand that is moved by the axes ``names``."""
    kinds = ((POSITION, settings.max_velocity), (TURNING, settings.max_angular_velocity))
    found = []
    for axes, fastest in kinds:
        own = tuple(k for k, name in enumerate(names) if name in axes)
        if own and fastest:
            found.append(VelocityNorm(own, fastest))
    return tuple(found)


class VelocityNorm(NamedTuple):
    """The length of the velocity of some axes together, and what it may be."""

    axes: tuple[int, ...]
    velocity: float


LEAST = 0.05
"""Share of the limit that is left to an axis that has next to no way to go."""


def shared(
    norm: VelocityNorm,
    limits: Sequence[AxisLimits],
    states: Sequence[AxisState],
    targets: Sequence[AxisState],
) -> list[AxisLimits]:
    """Return ``limits`` whose axes have as much of the velocity as of the way to their targets."""
    ways = [abs(targets[axis].position - states[axis].position) for axis in norm.axes]
    length = max(math.hypot(*ways), 1e-12)
    found = list(limits)
    for axis, way in zip(norm.axes, ways, strict=True):
        velocity = norm.velocity * max(way / length, LEAST)
        if velocity < found[axis].velocity:
            found[axis] = found[axis]._replace(velocity=velocity)
    return found


def coasting(norm: VelocityNorm, states: Sequence[AxisState], jerks: Sequence[float]) -> float:
    """Return the largest velocity that the axes may have while they end their accelerations."""
    return math.hypot(*(_fastest(states[axis], jerks[axis]) for axis in norm.axes))


def keeps(
    norm: VelocityNorm,
    before: Sequence[AxisState],
    after: Sequence[AxisState],
    jerks: Sequence[float],
    period: float,
) -> bool:
    """Return whether a motion from ``before`` to ``after`` is within the limit, or slows down.

    It takes ``period`` [s], and is within the limit on the whole, too.
    """
    velocity = coasting(norm, after, jerks)
    limit = norm.velocity * ROUNDING
    way = math.hypot(*(after[axis].position - before[axis].position for axis in norm.axes))
    if way > limit * period:
        return False
    return velocity <= limit or velocity <= coasting(norm, before, jerks)


def _fastest(state: AxisState, jerk: float) -> float:
    _, velocity, acceleration = state
    return max(abs(velocity), abs(velocity + acceleration * abs(acceleration) / (2 * jerk)))
