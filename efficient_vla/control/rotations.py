# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Rotations for the control loop: unit quaternions, rotation vectors and the rates of both.

Parts stand in tuples of plain floats, which for so few of them is several times faster than arrays;
they may be arrays [N] instead. A rotation vector v that changes turns a body at the rate J(v) v',
about the body's own axes, where J is the right Jacobian of SO(3) (Chirikjian, Stochastic Models,
Information Theory, and Lie Groups, volume 2, section 10.6).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Vector = tuple[Any, Any, Any]
"""Along or about x, y and z [rad, rad/s or rad/s^2]."""
Quaternion = tuple[Any, Any, Any, Any]
"""qx qy qz qw, of length 1."""
NONE: Vector = (0.0, 0.0, 0.0)
UNTURNED: Quaternion = (0.0, 0.0, 0.0, 1.0)
SERIES = 0.25
"""Below this square of an angle functions of it are series, exact to 1e-12 [rad^2]."""


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of floats take arrays, too, and return a row for each of its results."""

    def found(*values: Any) -> Any:
        if not isinstance(values[0], np.ndarray):
            return function(*values)
        rows = [function(*row) for row in zip(*(v.tolist() for v in values), strict=True)]
        return np.array(rows).T

    return found


def product(p: Quaternion, q: Quaternion) -> Quaternion:
    """Return the rotation that turns by ``q`` and then by ``p``."""
    px, py, pz, pw = p
    qx, qy, qz, qw = q
    return (
        pw * qx + px * qw + py * qz - pz * qy,
        pw * qy - px * qz + py * qw + pz * qx,
        pw * qz + px * qy - py * qx + pz * qw,
        pw * qw - px * qx - py * qy - pz * qz,
    )


def inverse(q: Quaternion) -> Quaternion:
    """Return the rotation back."""
    return -q[0], -q[1], -q[2], q[3]


def opposite(q: Quaternion) -> Quaternion:
    """Return the same rotation by the other one of its two quaternions."""
    return -q[0], -q[1], -q[2], -q[3]


def normalised(q: Quaternion) -> Quaternion:
    """Return ``q`` with the length 1."""
    scale = 1 / (q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]) ** 0.5
    return scale * q[0], scale * q[1], scale * q[2], scale * q[3]


def exp(v: Vector) -> Quaternion:
    """Return the rotation of a rotation vector."""
    share, cosine = _half(_dot(v, v))
    return share * v[0], share * v[1], share * v[2], cosine


def log(q: Quaternion) -> Vector:
    """Return the rotation vector of ``q``, the shorter way round."""
    share = _angle_of(q[0] * q[0] + q[1] * q[1] + q[2] * q[2], q[3])
    return share * q[0], share * q[1], share * q[2]


def between(p: Quaternion, q: Quaternion) -> Vector:
    """Return how far a body turns, about its own axes, from ``p`` to ``q``."""
    return log(product(inverse(p), q))


def turn(q: Quaternion, v: Vector) -> Vector:
    """Return ``v`` turned by ``q``."""
    x, y, z, w = q
    ax, ay, az = cross((x, y, z), v)
    bx, by, bz = cross((x, y, z), (ax, ay, az))
    return v[0] + 2 * (w * ax + bx), v[1] + 2 * (w * ay + by), v[2] + 2 * (w * az + bz)


def cross(a: Vector, b: Vector) -> Vector:
    """Return the vector product."""
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def body_motion(v: Vector, slope: Vector, bend: Vector) -> tuple[Vector, Vector]:
    """Return rate and change of rate about the body's axes where a rotation vector changes.

    ``slope`` and ``bend`` are the first two derivatives of ``v``.
    """
    square = _dot(v, v)
    first, second, first_slope, second_slope, _ = _jacobian(square)
    along = _dot(v, slope)
    own = 1 - second * square
    ax, ay, az = cross(v, slope)
    bx, by, bz = cross(v, bend)
    out, back = second * along, (second + second_slope * square) * along
    far = second * (_dot(slope, slope) + _dot(v, bend)) + second_slope * along * along
    grown = first_slope * along
    vx, vy, vz = v
    sx, sy, sz = slope
    rate = (
        own * sx + out * vx - first * ax,
        own * sy + out * vy - first * ay,
        own * sz + out * vz - first * az,
    )
    change = (
        own * bend[0] + far * vx - back * sx - first * bx - grown * ax,
        own * bend[1] + far * vy - back * sy - first * by - grown * ay,
        own * bend[2] + far * vz - back * sz - first * bz - grown * az,
    )
    return rate, change


def vector_motion(v: Vector, rate: Vector, change: Vector) -> tuple[Vector, Vector]:
    """Return the first two derivatives of a rotation vector, the inverse of ``body_motion``."""
    square = _dot(v, v)
    back = _jacobian(square)[4]
    slope = _slope(v, square, back, rate)
    _, own = body_motion(v, slope, NONE)
    left = (change[0] - own[0], change[1] - own[1], change[2] - own[2])
    return slope, _slope(v, square, back, left)


def _slope(v: Vector, square: Any, back: Any, rate: Vector) -> Vector:
    """Return the inverse of the right Jacobian at ``v``, times ``rate``."""
    x, y, z = cross(v, rate)
    own, out = 1 - back * square, back * _dot(v, rate)
    return (
        own * rate[0] + x / 2 + out * v[0],
        own * rate[1] + y / 2 + out * v[1],
        own * rate[2] + z / 2 + out * v[2],
    )


@_each
def _half(square: float) -> tuple[float, float]:
    """Return sin(a / 2) / a and cos(a / 2) of an angle a."""
    if square < 1e-8:
        return 0.5 - square / 48, 1 - square / 8
    angle = math.sqrt(square)
    return math.sin(angle / 2) / angle, math.cos(angle / 2)


@_each
def _angle_of(square: float, cosine: float) -> float:
    """Return a / sin(a / 2), for the angle a of a rotation, by its square and cos(a / 2)."""
    sine = math.sqrt(square)
    if sine < 1e-9:
        return math.copysign(2.0, cosine)
    if cosine < 0:
        return 2 * math.atan2(-sine, -cosine) / sine
    return 2 * math.atan2(sine, cosine) / sine


@_each
def _jacobian(square: float) -> tuple[float, float, float, float, float]:
    """Return what the right Jacobian is made of, for the square of an angle a.

    (1 - cos a) / a^2, (a - sin a) / a^3, the derivatives of both by a over a, and, of its inverse,
    1 / a^2 - (1 + cos a) / (2 a sin a).
    """
    s = square
    if s < SERIES:
        return (
            1 / 2 - s / 24 * (1 - s / 30 * (1 - s / 56 * (1 - s / 90 * (1 - s / 132)))),
            1 / 6 - s / 120 * (1 - s / 42 * (1 - s / 72 * (1 - s / 110 * (1 - s / 156)))),
            -1 / 12 + s / 180 - s**2 / 6720 + s**3 / 453600 - s**4 / 47900160,
            -1 / 60 + s / 1260 - s**2 / 60480 + s**3 / 4989600 - s**4 / 622702080,
            1 / 12 + s / 720 + s**2 / 30240 + s**3 / 1209600 + s**4 / 47900160
            + 691 * s**5 / 1307674368000 + s**6 / 74724249600,
        )  # fmt: skip
    angle = math.sqrt(s)
    sine, cosine = math.sin(angle), math.cos(angle)
    return (
        (1 - cosine) / s,
        (angle - sine) / (s * angle),
        (angle * sine - 2 * (1 - cosine)) / (s * s),
        (angle * (1 - cosine) - 3 * (angle - sine)) / (s * s * angle),
        (1 - angle * sine / (2 * (1 - cosine))) / s,
    )


def _dot(a: Vector, b: Vector) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
