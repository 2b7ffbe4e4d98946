# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of the model of an arm, and what it finds.

Nothing here needs the library, so that a controller without a description does not load it.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from efficient_vla.control.kinematics.description import OBSTACLE, TABLE
from efficient_vla.types import ActionChunk

RULES = ('singularity', 'joint_limit', 'unreachable', 'self_collision', 'table', 'obstacle')
"""Words with which the status, ``/diagnostics`` and the log name a rule."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that fired, and where."""

    rule: str
    """One of ``RULES``."""
    row: int
    """First row that must not be executed; of one that is only slow, that row."""
    text: str
    stops: bool = True
    """Whether the arm must stand before the row; else the row is executed, slowly."""

    def __str__(self) -> str:
        return f'{self.rule}: {self.text}'


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """What the axes of a robot may do, [M] each but ``first``."""

    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray
    deceleration: np.ndarray
    jerk: np.ndarray
    continuous: np.ndarray
    first: np.ndarray = field(default_factory=lambda: np.full(2, np.inf))
    """How far from the tool the first pose may be [m] and turned [rad], infinite for any."""


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """A chunk of joint rows that the arm can follow, and what was found."""

    chunk: ActionChunk
    finding: Finding | None = None
    refused: str = ''
    """Why no row can be followed; empty where some can."""


class Model(Protocol):
    """What a controller asks of an arm's model; ``axes`` [M] are all columns but the gripper."""

    def check(self, chunk: ActionChunk, anchor: np.ndarray, ranges: Ranges) -> Checked:
        """Return ``chunk`` in joint rows, laid out from the axes at ``anchor`` [M]."""

    def rest(self, axes: np.ndarray) -> None:
        """Take note that the arm starts anew at ``axes`` [M]."""

    def begin(self, axes: np.ndarray) -> None:
        """Take note that a motion begins at ``axes`` [M]."""

    def refuse(self, axes: np.ndarray) -> str | None:
        """Return why the arm must not come to stand at ``axes`` [M], or ``None``."""


def collision(row: int, near: tuple[str, str, float], what: str) -> Finding:
    """Return that ``what`` brings two links too near to each other, as ``Collisions.near`` says."""
    link, other, distance = near
    rule = 'self_collision'
    if other.startswith(OBSTACLE):
        rule = 'table' if other == TABLE else 'obstacle'
        other = f'the {other.removeprefix(OBSTACLE)}'
    text = f'{what} brings {link} to {distance * 1e3:.3g} mm from {other}, inside collision.margin'
    return Finding(rule, row, text)
