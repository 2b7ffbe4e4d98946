# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A chunk as an absolute path over time."""

import numpy as np

from efficient_vla.types import ActionChunk
from efficient_vla.types import ControlMode

TIME_TOLERANCE = 1e-4
"""Rows; a tick on a row boundary stays on its side, also in seconds since 1970 (2.4e-7 apart)."""


RELATIVE = frozenset({ControlMode.EE_DELTA, ControlMode.JOINT_DELTA, ControlMode.EE_TWIST})
"""Modes whose rows say how far to go from where the row before led."""


class Trajectory:
    """Straight lines between the knots that the rows of a chunk reach.

    Row ``k`` leads from knot ``k`` to knot ``k + 1``, during ``dt``. A chunk of displacements or
    velocities is laid out from the anchor, the set-point at the time of its observation: motion
    that was commanded while the chunk was computed is neither lost nor repeated.
    """

    def __init__(
        self,
        chunk: ActionChunk,
        motion: np.ndarray,
        gripper: int | None,
        anchor: np.ndarray,
        start: float,
    ) -> None:
        rows = chunk.actions[:, motion].astype(np.float64)
        knots = np.concatenate([np.zeros((1, rows.shape[1])), rows])  # [H + 1, M]
        if chunk.control_mode == ControlMode.EE_TWIST:
            knots *= chunk.dt
        if chunk.control_mode in RELATIVE:
            knots = np.cumsum(knots, axis=0) + anchor
        else:
            knots[0] = anchor
        self.chunk = chunk
        self.start = start
        self.end = start + len(rows) * chunk.dt
        self.knots = knots
        self._steps = np.diff(knots, axis=0)
        # After the last row the path stands still.
        self._velocities = np.concatenate([self._steps / chunk.dt, np.zeros((1, rows.shape[1]))])
        self._efforts = None if gripper is None else np.clip(chunk.actions[:, gripper], -1, 1)

    def ended(self, time: float) -> bool:
        """Return whether no row is left at ``time``."""
        return (time - self.start) / self.chunk.dt + TIME_TOLERANCE >= len(self._steps)

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return position [M] and the velocity that follows [M]; the ends hold outside."""
        row = (time - self.start) / self.chunk.dt
        if row <= 0:
            return self.knots[0], self._velocities[0]
        last = len(self._steps)
        index = int(row + TIME_TOLERANCE)
        if index >= last:
            return self.knots[last], self._velocities[last]
        position = self.knots[index] + max(row - index, 0.0) * self._steps[index]
        return position, self._velocities[index]

    def gripper(self, time: float) -> float | None:
        """Return the gripper effort of the row that ends at or after ``time``."""
        if self._efforts is None:
            return None
        index = int(np.ceil((time - self.start) / self.chunk.dt - TIME_TOLERANCE)) - 1
        return float(self._efforts[min(max(index, 0), len(self._efforts) - 1)])
