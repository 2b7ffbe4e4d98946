# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Joints without an end: their angles are the same after a full turn."""

import math

import numpy as np

TURN = 2 * math.pi
NEARLY = 0.5
"""A row this close to a full turn away is an angle that wrapped, not a way to go [rad]."""


def difference(to: np.ndarray, origin: np.ndarray, continuous: np.ndarray) -> np.ndarray:
    """Return ``to - origin`` [M], the shorter way round for axes that are ``continuous`` [M]."""
    straight = to - origin
    return np.where(continuous, (straight + math.pi) % TURN - math.pi, straight)


def unwrapped(rows: np.ndarray, origin: np.ndarray, continuous: np.ndarray) -> np.ndarray:
    """Return ``rows`` [H, M], each the shorter way from the one before, from ``origin`` [M] on."""
    if not continuous.any():
        return rows
    path = np.concatenate([origin[None], rows])
    path[:, continuous] = np.unwrap(path[:, continuous], axis=0)
    return path[1:]


def wrapping(rows: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Return which axes [M] go nearly a full turn within a row, from ``origin`` [M] on."""
    steps = np.abs(np.diff(np.concatenate([origin[None], rows]), axis=0))
    wraps: np.ndarray = (np.abs(steps - TURN) < NEARLY).any(axis=0)
    return wraps
