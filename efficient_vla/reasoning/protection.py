# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Tokens that no selector may drop: around the end effector, and on contours.

SQAP-VLA (arXiv 2509.09090) protects the projected robot, SP-VLA (arXiv 2506.12723) keeps edges;
every selector gets both. Coverage by farthest points is part of the budget.
"""

import numpy as np

from efficient_vla.reasoning.settings import CAMERA_ROW, ProtectSettings
from efficient_vla.types import InvalidRecordError, VisualTokens


def protected(
    tokens: VisualTokens, position: np.ndarray | None, protect: ProtectSettings
) -> np.ndarray:
    """Return which tokens are protected, bool [N].

    ``position`` [3] is the end effector [m] in the frame of the projection, ``None`` if unknown.
    Raises ``InvalidRecordError`` where contours are asked for and perception did not send them.
    """
    found = np.zeros(len(tokens.features), bool)
    if protect.end_effector and position is not None and position.shape == (3,):
        found |= around_end_effector(tokens, position, protect)
    if protect.contours > 0:
        if not len(tokens.contour):
            raise InvalidRecordError(
                f'pruning.protect.contours is {protect.contours}, but the visual tokens carry no '
                'contours; expected those of perception. Set perception signals to true.'
            )
        found |= tokens.contour >= protect.contours
    return found


def around_end_effector(
    tokens: VisualTokens, position: np.ndarray, protect: ProtectSettings
) -> np.ndarray:
    """Return which tokens lie within ``ring`` of the projected point, bool [N].

    A camera whose matrix is all zeros, or that has the point behind it or outside its image,
    protects nothing.
    """
    rows, columns = tokens.grid
    found = np.zeros(len(tokens.features), bool)
    point = np.append(position, 1.0)
    matrices = np.array(protect.projection).reshape(-1, CAMERA_ROW)
    for camera, matrix in enumerate(matrices):
        u, v, w = matrix.reshape(3, 4) @ point
        if w <= 0 or not (0 <= u < w and 0 <= v < w):
            continue
        row, column = int(v / w * rows), int(u / w * columns)
        near = np.maximum(np.abs(tokens.row - row), np.abs(tokens.column - column))
        found |= (tokens.camera == camera) & (near <= protect.ring)
    return found
