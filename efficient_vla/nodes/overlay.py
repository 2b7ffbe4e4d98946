# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of what the policy does: tokens over the camera image, the predicted path as markers."""

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from visualization_msgs.msg import Marker
from visualization_msgs.msg import MarkerArray

from efficient_vla.types import ActionChunk
from efficient_vla.types import ControlMode
from efficient_vla.types import VisualTokens

REUSED_COLOUR = np.array([70, 150, 255], np.float32)
REUSED_SHARE = 0.35
LINE_SHARE = 0.25
"""How much darker the lines between tokens are."""
PATH_COLOUR = (0.1, 0.9, 0.3, 1.0)
END_COLOUR = (1.0, 0.6, 0.1, 1.0)
TEXT_HEIGHT_M = 0.04
LIFETIME_S = 1
"""Markers of a graph that stopped disappear after this long."""


def token_overlay(
    image: np.ndarray, tokens: VisualTokens, kept: np.ndarray | None, camera: int, dim: float
) -> np.ndarray:
    """Return ``image`` with dropped tokens dimmed and reused ones tinted blue.

    ``image`` is uint8 rgb [rows, columns, 3] of camera number ``camera``; ``kept`` are position
    ids, or ``None`` where nothing is known: then all count as kept. Cells without a token are
    dropped.
    """
    rows, columns = tokens.grid
    mine = tokens.camera == camera
    cells = (tokens.row[mine], tokens.column[mine])
    is_kept = np.zeros((rows, columns), bool)
    is_kept[cells] = True if kept is None else np.isin(tokens.position[mine], kept)
    is_reused = np.zeros((rows, columns), bool)
    is_reused[cells] = tokens.reused[mine]
    row_of = np.arange(image.shape[0]) * rows // image.shape[0]
    column_of = np.arange(image.shape[1]) * columns // image.shape[1]
    brightness = np.where(is_kept, 1.0, dim).astype(np.float32)[row_of][:, column_of]
    brightness[1:][np.diff(row_of) > 0] *= 1 - LINE_SHARE
    brightness[:, 1:][:, np.diff(column_of) > 0] *= 1 - LINE_SHARE
    tint = (is_reused * np.float32(REUSED_SHARE))[row_of][:, column_of][:, :, None]
    drawn = (image * (1 - tint) + REUSED_COLOUR * tint) * brightness[:, :, None]
    return drawn.astype(np.uint8)


def predicted_path(chunk: ActionChunk, start: np.ndarray) -> np.ndarray:
    """Return the positions that ``chunk`` leads to from ``start`` [3], float64, [H + 1, 3] in m.

    Joint chunks have no path without a model of the robot: only ``start`` comes back.
    """
    if chunk.control_mode == ControlMode.EE_DELTA:
        return np.vstack([start, start + np.cumsum(chunk.actions[:, :3], axis=0)])
    if chunk.control_mode == ControlMode.EE_POSITION:
        return np.vstack([start, chunk.actions[:, :3]])
    return np.array(start, np.float64).reshape(1, 3)


def path_markers(path: np.ndarray, frame_id: str, stamp: Time, width: float) -> Sequence[Marker]:
    """Return a line along ``path`` and a ball at its end."""
    line = _marker(0, Marker.LINE_STRIP, frame_id, stamp, PATH_COLOUR)
    line.scale.x = width
    line.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in path]
    ball = _marker(1, Marker.SPHERE, frame_id, stamp, END_COLOUR)
    ball.scale.x = ball.scale.y = ball.scale.z = 3 * width
    ball.pose.position = line.points[-1]
    return [line, ball]


def text_marker(text: str, place: np.ndarray, frame_id: str, stamp: Time) -> Marker:
    """Return ``text`` that floats at ``place`` [3] and faces the viewer."""
    marker = _marker(2, Marker.TEXT_VIEW_FACING, frame_id, stamp, (1.0, 1.0, 1.0, 1.0))
    marker.text = text
    marker.scale.z = TEXT_HEIGHT_M
    x, y, z = (float(value) for value in place)
    marker.pose.position = Point(x=x, y=y, z=z)
    return marker


def no_markers() -> MarkerArray:
    """Return the message that removes all markers."""
    return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])


def _marker(
    number: int, kind: int, frame_id: str, stamp: Time, colour: tuple[float, ...]
) -> Marker:
    marker = Marker(ns='efficient_vla', id=number, type=kind, action=Marker.ADD)
    marker.header.frame_id = frame_id
    marker.header.stamp = stamp
    marker.pose.orientation.w = 1.0
    marker.color.r, marker.color.g, marker.color.b, marker.color.a = colour
    marker.lifetime.sec = LIFETIME_S
    return marker
