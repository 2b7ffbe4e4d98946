# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A chunk that comes to stand on its own path, before a row that must not be executed."""

import math
from dataclasses import replace

import numpy as np

from efficient_vla.columns import relative
from efficient_vla.control.kinematics.checks import Ranges
from efficient_vla.control.trajectory import knots_of
from efficient_vla.types import ActionChunk

SHARE = 0.7
"""Of the limits; the rest is for what bends the path meanwhile."""


def stopped(
    chunk: ActionChunk, row: int, motion: list[int], anchor: np.ndarray, ranges: Ranges
) -> ActionChunk:
    """Return ``chunk`` slowing down to stand at the end of the last row before ``row``.

    ``motion`` are the columns of the axes and ``anchor`` [M] is where rows of displacements begin.
    Its speed falls along a cosine, as long as deceleration and jerk of the axes ask for.
    """
    steps = relative(chunk)[motion]  # [M]
    path = chunk.actions[:, motion].astype(np.float64)  # [H, M]
    path = knots_of(path, steps, anchor, ranges.continuous)[: row + 1]  # [row + 1, M]
    takes = _time(path, chunk.dt, ranges) / chunk.dt
    at = _slowed(len(chunk.actions), row, min(takes, 2.0 * row))  # [H]
    rows = chunk.actions.copy()
    index = np.minimum(at.astype(int), row - 1)
    places = path[index] + (at - index)[:, None] * (path[index + 1] - path[index])
    rows[:, motion] = np.where(steps, np.diff(places, axis=0, prepend=anchor[None]), places)
    held = np.delete(np.arange(rows.shape[1]), motion)
    latest = np.minimum(np.ceil(at).astype(int), row) - 1
    rows[:, held] = chunk.actions[np.maximum(latest, 0)][:, held]
    return replace(chunk, actions=rows)


def _time(path: np.ndarray, dt: float, ranges: Ranges) -> float:
    """Return how long the axes take to stand from their speed on ``path`` [K + 1, M], in s."""
    speeds = np.abs(np.diff(path, axis=0)).max(axis=0) / dt
    # A speed that falls as a cosine has these largest decelerations and jerks.
    by_deceleration = math.pi / 2 * speeds / (SHARE * ranges.deceleration)
    by_jerk = math.pi * np.sqrt(speeds / 2 / (SHARE * ranges.jerk))
    return float(np.maximum(by_deceleration, by_jerk).max())


def _slowed(count: int, row: int, takes: float) -> np.ndarray:
    """Return where in a path each of ``count`` rows ends [H], in rows.

    The path stands at ``row``, and ``takes`` rows in time for the last half as many.
    """
    begin = row - takes / 2
    ends = np.arange(1.0, count + 1)
    since = np.clip(ends - begin, 0.0, takes)
    share = since / max(takes, 1e-9)
    gone = takes * (share + np.sin(math.pi * share) / math.pi) / 2
    slowed: np.ndarray = np.minimum(np.where(since > 0, begin + gone, ends), row)
    return slowed
