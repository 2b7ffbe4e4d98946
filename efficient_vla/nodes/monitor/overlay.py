# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of what the policy does: tokens over the camera image, the predicted path as markers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from efficient_vla.columns import relative
from efficient_vla.control.contract import JOINT_MODES
from efficient_vla.types import ActionChunk, ControlMode, Plan, VisualTokens

REUSED_COLOUR = np.array([70, 150, 255], np.float32)
YOUNG_SHARE, OLD_SHARE = 0.2, 0.65
"""How blue a reused token is at age 0, and from `OLD_S` on."""
OLD_S = 1.0
PROTECTED_COLOUR = (255, 200, 0)
OUTLINES_A_SIDE = 240
"""An outline is this part of the picture wide."""
LINE_SHARE = 0.25
"""How much darker the lines between tokens are."""
PICTURE_ROWS = 480
"""Images are scaled to this height: text is readable beside it, and large ones stay cheap."""
_GAP = np.zeros((PICTURE_ROWS, 4, 3), np.uint8)
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_SCALE = 0.45
LINE_ROWS = 18
MARGIN = 6
PATH_COLOUR = (0.1, 0.9, 0.3, 1.0)
END_COLOUR = (1.0, 0.6, 0.1, 1.0)
TEXT_COLOUR = (1.0, 1.0, 1.0, 1.0)
SUBGOAL_COLOUR = (0.2, 0.9, 0.4, 0.6)
SUBGOAL_WIDTHS = 5.0
"""Size of the ball at the subgoal, in widths of the path."""
TEXT_HEIGHT_M, TEXT_ABOVE_M = 0.04, 0.15
LIFETIME_S = 1
"""Markers of a graph that stopped disappear after this long."""


@dataclass(frozen=True, slots=True)
class TokenFates:
    """What became of each token of a frame, [N] each."""

    kept: np.ndarray
    """bool"""
    reused: np.ndarray
    """bool, its features or its keys and values came from an earlier frame."""
    age: np.ndarray
    """float32, seconds since the oldest part of it was computed."""
    protected: np.ndarray
    """bool"""


def spent(tokens: VisualTokens, plan: Plan) -> TokenFates:
    """Return what perception and ``plan`` did with ``tokens``.

    A plan that names no token comes from a policy that does not say: then all count as kept.
    """
    position = tokens.position
    kept = np.isin(position, plan.kept) if len(plan.kept) else np.ones(len(position), bool)
    age = np.array(tokens.age, np.float32)
    place = np.searchsorted(position, plan.reused)
    known = place < len(position)
    known[known] = position[place[known]] == plan.reused[known]
    place = place[known]
    age[place] = np.maximum(age[place], plan.reused_age[known])
    reused = tokens.reused.copy()
    reused[place] = True
    return TokenFates(kept, reused, age, np.isin(position, plan.protected))


def token_overlay(
    image: np.ndarray, tokens: VisualTokens, marks: TokenFates, camera: int, dim: float
) -> np.ndarray:
    """Return ``image`` with dropped tokens dimmed, reused ones blue and protected ones outlined.

    ``image`` is uint8 rgb [rows, columns, 3] of camera number ``camera``. The blue is stronger the
    older a token is. Cells without a token are dropped.
    """
    rows, columns = tokens.grid
    mine = tokens.camera == camera
    row_of = np.arange(image.shape[0]) * rows // image.shape[0]
    column_of = np.arange(image.shape[1]) * columns // image.shape[1]

    def pixels(values: np.ndarray) -> np.ndarray:
        cells = np.zeros((rows, columns), values.dtype)
        # Of two tokens at one place, the brighter one shows.
        np.maximum.at(cells, (tokens.row[mine], tokens.column[mine]), values[mine])
        return cells[row_of][:, column_of]

    brightness = np.where(pixels(marks.kept), np.float32(1), np.float32(dim))
    brightness[1:][np.diff(row_of) > 0] *= 1 - LINE_SHARE
    brightness[:, 1:][:, np.diff(column_of) > 0] *= 1 - LINE_SHARE
    old = np.minimum(marks.age / OLD_S, 1)
    share = np.where(marks.reused, YOUNG_SHARE + (OLD_SHARE - YOUNG_SHARE) * old, 0)
    tint = pixels(share.astype(np.float32))[:, :, None]
    drawn = (image * (1 - tint) + REUSED_COLOUR * tint) * brightness[:, :, None]
    drawn = drawn.astype(np.uint8)
    inside = pixels(marks.protected).astype(np.uint8)
    width = max(1, round(min(image.shape[:2]) / OUTLINES_A_SIDE))
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    core = cv2.erode(inside, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    drawn[(inside > 0) & (core == 0)] = PROTECTED_COLOUR
    return drawn


def summary(marks: TokenFates, plan: Plan, vision_saved_ms: float = math.nan) -> str:
    """Return in one line what was kept, reused and saved, and why.

    ``vision_saved_ms`` is what perception saved on the same frame; NaN where not known.
    """
    reused = int(marks.reused.sum())
    parts = [f'kept {int(marks.kept.sum())}/{plan.tokens_total or len(marks.kept)}']
    oldest = f' (oldest {marks.age[marks.reused].max():.1f} s)' if reused else ''
    parts.append(f'reused {reused}{oldest}')
    if marks.protected.any():
        parts.append(f'protected {int(marks.protected.sum())}')
    saved = [
        f'{name} {value:.0f} ms'
        for name, value in (('vision', vision_saved_ms), ('plan', plan.saved_ms))
        if math.isfinite(value)
    ]
    if saved:
        parts.append('saved ' + ', '.join(saved))
    if plan.reason:
        parts.append(plan.reason)
    return '  '.join(parts)


def token_picture(
    images: Sequence[np.ndarray], tokens: VisualTokens, plan: Plan, dim: float, saved: float
) -> np.ndarray:
    """Return the overlays of all cameras side by side, with ``summary`` below.

    ``images`` are uint8 rgb [rows, columns, 3], one a camera in the policy's order, of any sizes;
    ``saved`` are the milliseconds that perception saved.
    """
    marks = spent(tokens, plan)
    drawn = []
    for camera, image in enumerate(images):
        size = (round(image.shape[1] * PICTURE_ROWS / len(image)), PICTURE_ROWS)
        smaller = len(image) > PICTURE_ROWS
        scaled = cv2.resize(
            image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        )
        drawn += [token_overlay(scaled, tokens, marks, camera, dim), _GAP]
    picture = np.hstack(drawn[:-1])
    return np.vstack([picture, text_strip(summary(marks, plan, saved), picture.shape[1])])


def text_strip(text: str, width: int) -> np.ndarray:
    """Return ``text`` in white on black, uint8 [rows, width, 3], in as many lines as it needs.

    Lines end between parts, which have two blanks between them, and inside of those that are too
    long for a line. The font knows ASCII only; other characters become question marks.
    """
    lines = wrapped(text.encode('ascii', 'replace').decode(), width - 2 * MARGIN)
    strip = np.zeros((len(lines) * LINE_ROWS + MARGIN, width, 3), np.uint8)
    for number, line in enumerate(lines, 1):
        place = (MARGIN, number * LINE_ROWS - MARGIN // 2)
        cv2.putText(strip, line, place, FONT, FONT_SCALE, (255, 255, 255), 1, cv2.LINE_AA)
    return strip


def wrapped(text: str, room: int) -> list[str]:
    """Return ``text`` in lines of at most ``room`` pixels, longer only where one word is."""
    lines = ['']
    for part in text.split('  '):
        blanks = '  '
        for piece in [part] if _text_width(part) <= room else part.split(' '):
            longer = lines[-1] + blanks + piece if lines[-1] else piece
            if lines[-1] and _text_width(longer) > room:
                lines.append(piece)
            else:
                lines[-1] = longer
            blanks = ' '
    return lines


def _text_width(text: str) -> int:
    (width, _), _ = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    return int(width)


def predicted_path(chunk: ActionChunk, start: np.ndarray) -> np.ndarray:
    """Return the positions that ``chunk`` leads to from ``start`` [3], float64, [H + 1, 3] in m.

    An axis that the chunk does not name stays where it is. Joint chunks, and displacements in the
    frame of the tool, have no path without a model of the robot: only ``start`` comes back.
    """
    path = np.tile(np.asarray(start, np.float64), (len(chunk.actions) + 1, 1))
    if chunk.control_mode in JOINT_MODES or chunk.frame == 'tool':
        return path[:1]
    steps = relative(chunk)
    for axis, name in enumerate(('x', 'y', 'z')):
        if name not in chunk.names:
            continue
        place = chunk.names.index(name)
        column = chunk.actions[:, place]
        if not steps[place]:
            path[1:, axis] = column
        else:
            scale = chunk.dt if chunk.control_mode == ControlMode.EE_TWIST else 1.0
            path[1:, axis] += np.cumsum(column * scale)
    return path


def markers(
    path: np.ndarray, text: str, subgoal: np.ndarray, header: Header, width: float
) -> list[Marker]:
    """Return a line along ``path`` [H + 1, 3] with a ball at its end, and text above its start.

    A larger ball is at ``subgoal`` [3], where the gripper goes next; [0] where it is not known.
    """
    line = marker(0, Marker.LINE_STRIP, header, PATH_COLOUR, width)
    line.points = [point(place) for place in path]
    end = marker(1, Marker.SPHERE, header, END_COLOUR, 3 * width, path[-1])
    place = path[0] + (0.0, 0.0, TEXT_ABOVE_M)
    words = marker(2, Marker.TEXT_VIEW_FACING, header, TEXT_COLOUR, TEXT_HEIGHT_M, place)
    words.text = text
    found = [line, end, words]
    if len(subgoal):
        size = SUBGOAL_WIDTHS * width
        found.append(marker(3, Marker.SPHERE, header, SUBGOAL_COLOUR, size, subgoal))
    return found


def no_markers() -> MarkerArray:
    """Return the message that removes all markers."""
    return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])


def marker(
    number: int,
    kind: int,
    header: Header,
    colour: tuple[float, ...],
    size: float,
    place: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0),
) -> Marker:
    """Return a marker of a ``size`` in m at ``place``, which disappears by itself."""
    made = Marker(header=header, ns='efficient_vla', id=number, type=kind, action=Marker.ADD)
    made.pose.position = point(place)
    made.pose.orientation.w = 1.0
    made.scale.x = made.scale.y = made.scale.z = size
    made.color.r, made.color.g, made.color.b, made.color.a = colour
    made.lifetime.sec = LIFETIME_S
    return made


def point(place: Sequence[float] | np.ndarray) -> Point:
    """Return ``place`` [3] as a message."""
    x, y, z = (float(value) for value in place)
    return Point(x=x, y=y, z=z)
