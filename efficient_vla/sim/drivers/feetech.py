# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The servos of an SO-101 behind its driver: calibrated ticks on one side, radians on the other.

A servo counts 4096 ticks a turn. The calibration file is LeRobot's: for each motor
``homing_offset``, which the servo takes off what its encoder shows, and the range ``range_min`` to
``range_max`` of what is left. The middle of that range is the zero of a joint, from which LeRobot
counts degrees; the ends of the gripper's range are those of its joint.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla.errors import UsageError

TICKS = 4096
TURN = 2 * np.pi
FIELDS = ('drive_mode', 'homing_offset', 'range_min', 'range_max')
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Motor:
    """Calibration of one servo [ticks]."""

    homing_offset: int
    low: int
    high: int
    turned: bool = False
    """Whether the joint turns against the servo."""


class Servos:
    """Servos that are sent and read in ticks, for joints in radians.

    ``gripper`` is the range of the last joint [rad], whose ends are those of its motor.
    """

    def __init__(self, motors: Sequence[Motor], gripper: tuple[float, float]) -> None:
        self._low, self._high = (np.array([getattr(m, e) for m in motors]) for e in ('low', 'high'))
        self._offset = np.array([motor.homing_offset for motor in motors])
        sign = np.array([-1.0 if motor.turned else 1.0 for motor in motors])
        scale = np.full(len(motors), TURN / TICKS)
        scale[-1] = (gripper[1] - gripper[0]) / (self._high[-1] - self._low[-1])
        self._zero = (self._low + self._high) / 2
        self._zero[-1] -= sign[-1] * sum(gripper) / 2 / scale[-1]
        self._tick = sign * scale
        """What a tick turns each joint [rad]."""

    def goals(self, joints: np.ndarray) -> np.ndarray:
        """Return the goal of each servo, int [J], for ``joints`` [rad]; none leaves its range."""
        return np.clip(self._ticks(joints), self._low, self._high)

    def encoder(self, joints: np.ndarray) -> np.ndarray:
        """Return what the encoders show, int [J], where the joints are at ``joints`` [rad]."""
        return np.mod(self._ticks(joints) + self._offset, TICKS)

    def read(self, encoder: np.ndarray) -> np.ndarray:
        """Return the joints [rad] by what the encoders show, int [J]."""
        return self.turned_by(np.mod(encoder - self._offset, TICKS))

    def turned_by(self, ticks: np.ndarray) -> np.ndarray:
        """Return the joints [rad] of servos at ``ticks``, int [J], as they count them."""
        found: np.ndarray = (ticks - self._zero) * self._tick
        return found

    def _ticks(self, joints: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.rint(self._zero + joints / self._tick).astype(int)
        return found


def read_calibration(path: Path, names: Sequence[str]) -> tuple[Motor, ...]:
    """Return the motors ``names`` of a calibration file of LeRobot.

    Raises ``UsageError`` for one that is none, naming what is wrong.
    """
    try:
        with path.open('rb') as file:
            text = file.read(MAX_BYTES + 1)
        found = json.loads(text) if len(text) <= MAX_BYTES else None
    except (OSError, ValueError) as error:
        raise UsageError(f'calibration {str(path)!r} cannot be read: {error}') from error
    if not isinstance(found, dict):
        raise UsageError(
            f'calibration {str(path)!r} is no map of motors; expected what lerobot-calibrate wrote.'
        )
    missing = [name for name in names if name not in found]
    if missing:
        raise UsageError(
            f'calibration {str(path)!r} lacks {", ".join(missing)}; it has {", ".join(found)}. '
            'Calibrate this arm.'
        )
    return tuple(_motor(path, name, found[name]) for name in names)


def _motor(path: Path, name: str, values: Any) -> Motor:
    if not isinstance(values, Mapping) or any(type(values.get(f)) is not int for f in FIELDS):
        raise UsageError(
            f'calibration {str(path)!r}: {name} is {values!r}; expected whole numbers for '
            f'{", ".join(FIELDS)}.'
        )
    low, high, offset = values['range_min'], values['range_max'], values['homing_offset']
    if not 0 <= low < high < TICKS or abs(offset) >= TICKS:
        raise UsageError(
            f'calibration {str(path)!r}: {name} ranges from {low} to {high} with the homing_offset '
            f'{offset}; expected 0 to {TICKS - 1}, low below high. Calibrate this arm.'
        )
    return Motor(offset, low, high, bool(values['drive_mode']))
