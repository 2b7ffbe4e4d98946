# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the rows of a chunk want the tool."""

import numpy as np
import pinocchio as pin

from efficient_vla.types import QUATERNION, ActionChunk, ControlMode


def places_of(chunk: ActionChunk, start: pin.SE3) -> list[pin.SE3]:
    """Return where the tool is at the end of each row, from ``start`` on, in the base's frame.

    Rows have x, y, z and, where they turn the tool, a quaternion. Displacements go and turn by the
    axes of the base, or of the tool where the chunk is in its frame.
    """
    ways = chunk.actions[:, :3].astype(np.float64)
    if chunk.control_mode == ControlMode.EE_TWIST:
        ways *= chunk.dt
    turns = _rotations(chunk)
    if chunk.control_mode == ControlMode.EE_POSITION:
        return [
            pin.SE3(start.rotation if turn is None else turn, way)
            for way, turn in zip(ways, turns, strict=True)
        ]
    places, place = [], start
    for way, turn in zip(ways, turns, strict=True):
        step = np.eye(3) if turn is None else turn
        if chunk.frame == 'tool':
            place = place * pin.SE3(step, way)
        else:
            place = pin.SE3(step @ place.rotation, place.translation + way)
        places.append(place)
    return places


def _rotations(chunk: ActionChunk) -> list[np.ndarray | None]:
    """Return the rotation [3, 3] that each row says, ``None`` where rows do not turn the tool."""
    if chunk.names[3:7] != QUATERNION:
        return [None] * len(chunk.actions)
    rows = chunk.actions[:, 3:7].astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return [pin.Quaternion(row).toRotationMatrix() for row in rows]
