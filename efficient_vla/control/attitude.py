# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How the set-point is turned, beside the axes of its motion that turn it.

A rotation has three axes, which count without bounds: by how much they change in a tick is the
rotation vector, about the tool's own axes, by which the orientation turns in it. So their velocity
is the tool's angular velocity, and what limits, brakes and stops axes does so to a rotation.

Another orientation is told by the way to it from the present set-point, the shorter way round, as
the places of these axes; beside it stand the tool's angular velocity and acceleration, about its
own axes there. Motions are compared by the rotation from one to the other: a component of a
quaternion, or of a rotation vector from far away, is averaged nowhere.
"""

import math
from collections.abc import Sequence

import numpy as np

from efficient_vla.columns import GRIPPER, quaternion_at
from efficient_vla.control.angles import TURN
from efficient_vla.control.rotations import (
    NONE,
    UNTURNED,
    Quaternion,
    Vector,
    between,
    body_motion,
    cross,
    exp,
    inverse,
    log,
    normalised,
    opposite,
    product,
    turn,
    vector_motion,
)
from efficient_vla.types import UNIT_TOLERANCE, InvalidRecordError


class Attitude:
    """The orientation of the set-point of a robot that is commanded by the columns ``names``."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        first = quaternion_at(names)
        self.axes: slice | None = None
        """The axes that turn; ``None`` for a robot without rotation."""
        self.columns = slice(0)
        """The columns of the quaternion in a command."""
        if first is not None:
            self.columns = slice(first, first + 4)
            before = sum(name != GRIPPER for name in names[:first])
            self.axes = slice(before, before + 3)
        self.turned = UNTURNED
        self._place = self._seen = NONE

    def hold(self, columns: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Be turned as a command's ``columns`` [A] say; return the axes' position [M].

        ``others`` [M] has it but for the rotation. Raises ``InvalidRecordError`` for a quaternion
        whose length is not 1.
        """
        if self.axes is None:
            return others
        turned = unit(columns[self.columns])
        self._place = self._seen = self._counted_on(self.place(turned))
        same = sum(a * b for a, b in zip(turned, self.turned, strict=True)) >= 0
        self.turned = turned if same else opposite(turned)
        position = others.copy()
        position[self.axes] = self._place
        return position

    def observed(self, state: np.ndarray) -> np.ndarray:
        """Return the axes' position [M] of a ``state``, which has all columns but the gripper's.

        Raises ``InvalidRecordError`` for a quaternion whose length is not 1.
        """
        if self.axes is None:
            return state
        first = self.axes.start
        position = np.delete(state, first + 3)
        self._seen = self._counted_on(self.place(unit(state[first : first + 4])))
        position[self.axes] = self._seen
        return position

    def place(self, turned: Quaternion) -> Vector:
        """Return the place of the axes for another orientation, the nearest one [3]."""
        way = between(self.turned, turned)
        place = self._place
        return place[0] + way[0], place[1] + way[1], place[2] + way[2]

    def _counted_on(self, place: Vector) -> Vector:
        """Return ``place``, or that of the same orientation on the way round the other side.

        The one that is nearer to where the robot was seen: half a turn away both are as far.
        """
        way = self._way(place)
        angle = math.hypot(*way)
        if angle < TURN / 4:
            return place
        x, y, z = ((1 - TURN / angle) * part for part in way)
        other = self._place[0] + x, self._place[1] + y, self._place[2] + z
        return min(place, other, key=lambda one: math.dist(one, self._seen))

    def turned_at(self, place: Sequence[float]) -> Quaternion:
        """Return the orientation at another place of the axes, straight from here."""
        return product(self.turned, exp(self._way(place)))

    def move(self, position: np.ndarray) -> None:
        """Turn as far as the axes have gone on to ``position`` [M]."""
        if self.axes is None:
            return
        place = position[self.axes].tolist()
        self.turned = normalised(self.turned_at(place))
        self._place = tuple(place)

    def write(self, columns: np.ndarray, position: np.ndarray) -> None:
        """Write the quaternion of the axes' ``position`` [M] into a command's ``columns`` [A]."""
        if self.axes is not None:
            columns[self.columns] = self.turned_at(position[self.axes].tolist())

    def write_rate(self, columns: np.ndarray, velocity: np.ndarray) -> None:
        """Write how the quaternion changes where the axes have a ``velocity`` [M]."""
        if self.axes is not None:
            x, y, z = velocity[self.axes].tolist()
            columns[self.columns] = product(self.turned, (x / 2, y / 2, z / 2, 0.0))

    def rates(self, position: np.ndarray, velocity: np.ndarray) -> Vector:
        """Return the angular velocity along the axes of the base that a command [A] has [rad/s]."""
        if self.axes is None:
            return NONE
        turned: Quaternion = tuple(position[self.columns].tolist())
        x, y, z, _ = product(velocity[self.columns].tolist(), inverse(turned))
        return 2 * x, 2 * y, 2 * z

    def followed(self, reference: np.ndarray, motion: np.ndarray, period: float) -> np.ndarray:
        """Return the axes' ``reference`` [3, M] after ``period`` [s] as the set-point sees it then.

        ``motion`` [3, M] is that of the set-point now: it turns with the reference, or after it.
        """
        if self.axes is None:
            return reference
        place, rate, change = reference[:, self.axes].tolist()
        x, y, z = self._way(place)
        (a, b, c), (d, e, f) = motion[1:, self.axes].tolist()
        half = period / 2
        left = exp(
            (
                x - period * (a + half * d),
                y - period * (b + half * e),
                z - period * (c + half * f),
            )
        )
        found = reference.copy()
        found[1:, self.axes] = turn(left, rate), turn(left, change)
        return found

    def apart(self, motion: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """Return by what ``motion`` differs from ``origin``, all [3, M]; see ``joined``.

        Of a rotation that is the rotation vector about the axes of ``origin``'s tool.
        """
        apart: np.ndarray = motion - origin
        if self.axes is not None:
            place, rate, change = motion[:, self.axes].tolist()
            before, rate_before, change_before = origin[:, self.axes].tolist()
            off = product(inverse(exp(self._way(before))), exp(self._way(place)))
            back = inverse(off)
            carried = turn(back, rate_before)
            extra = _less(rate, carried)
            bent = _less(_less(change, turn(back, change_before)), cross(carried, extra))
            way = log(off)
            apart[:, self.axes] = way, *vector_motion(way, extra, bent)
        return apart

    def joined(self, motion: np.ndarray, *offsets: np.ndarray) -> np.ndarray:
        """Return ``motion`` [3, M] and ``offsets`` [3, M] together: rotations after each other."""
        joined = motion
        for offset in offsets:
            joined = joined + offset
        if self.axes is not None:
            whole = offsets[0] if len(offsets) == 1 else np.sum(offsets, axis=0)
            off, slope, bend = whole[:, self.axes].tolist()
            place, rate, change = motion[:, self.axes].tolist()
            further = exp(off)
            back = inverse(further)
            extra, bent = body_motion(off, slope, bend)
            carried = turn(back, rate)
            swung = _more(turn(back, change), cross(carried, extra))
            turned = product(self.turned, product(exp(self._way(place)), further))
            joined[:, self.axes] = self.place(turned), _more(carried, extra), _more(swung, bent)
        return joined

    def _way(self, place: Sequence[float]) -> Vector:
        x, y, z = self._place
        return place[0] - x, place[1] - y, place[2] - z


def unit(quaternion: np.ndarray) -> Quaternion:
    """Return ``quaternion`` [4] as floats; raises ``InvalidRecordError`` unless its length is 1."""
    x, y, z, w = quaternion.tolist()
    length = (x * x + y * y + z * z + w * w) ** 0.5
    if not abs(length - 1) <= UNIT_TOLERANCE:
        raise InvalidRecordError(
            f'quaternion {x:.6g}, {y:.6g}, {z:.6g}, {w:.6g} has the length {length:.6g}; expected '
            '1. Normalise it.'
        )
    return normalised((x, y, z, w))


def _less(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _more(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]
