# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera images to model inputs, and what an image says about its tokens without a network."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch.nn import functional as F

LOW, HIGH = 100, 200
"""Thresholds of Canny's hysteresis, as SP-VLA sets them, arXiv 2506.12723, in its code."""


def squared(image: np.ndarray, anchor: str = 'centre') -> np.ndarray:
    """Return the image, padded with black to a square where it is none.

    Policies see squares. Stretching another shape would move and bend what is seen; a border is
    at worst unknown. Cells, tokens and projections are those of the padded square. Content is in
    the middle, or below and on the right of the border with ``anchor`` 'end'.
    """
    rows, columns = image.shape[:2]
    if rows == columns:
        return image
    side = max(rows, columns)
    square = np.zeros((side, side, 3), image.dtype)
    top, left = _before((side - rows, side - columns), anchor)
    square[top : top + rows, left : left + columns] = image
    return square


def _before(room: tuple[int, int], anchor: str) -> tuple[int, int]:
    """Return the part of the border that is above and on the left."""
    return room if anchor == 'end' else (room[0] // 2, room[1] // 2)


def padded(planes: torch.Tensor, size: tuple[int, int], anchor: str) -> torch.Tensor:
    """Return float images [B, 3, rows, columns] in ``size``, their shape kept by a border of zeros.

    Bilinear without smoothing, as LeRobot resizes; an image that fits stays as it is. The border is
    as ``squared`` has it.
    """
    rows, columns = planes.shape[2:]
    if (rows, columns) == size:
        return planes
    ratio = max(columns / size[1], rows / size[0])
    inner = int(rows / ratio), int(columns / ratio)
    smaller = F.interpolate(planes, inner, mode='bilinear', align_corners=False)
    room = size[0] - inner[0], size[1] - inner[1]
    top, left = _before(room, anchor)
    return F.pad(smaller, (left, room[1] - left, top, room[0] - top))


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Return the image in [size, size, 3], padded where it is no square.

    Area averaging, so that no pixel is skipped.
    """
    image = squared(image)
    if image.shape[:2] == (size, size):
        return image
    smaller = image.shape[0] > size and image.shape[1] > size
    return cv2.resize(
        image, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )


def pixels(image: np.ndarray, size: int, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Return uint8 [rows, columns, 3] as normalised float32 [3, size, size].

    ``mean`` and ``std`` are those of intensities in [0, 1], one a colour.
    """
    return normalised(shrink(image, size), mean, std)


def normalised(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Return uint8 [rows, columns, 3] as float32 [3, rows, columns]; the rest as for ``pixels``."""
    planes = np.ascontiguousarray(np.moveaxis(image, -1, 0))
    centre = np.asarray(mean, np.float32).reshape(3, 1, 1)
    spread = np.asarray(std, np.float32).reshape(3, 1, 1)
    # One multiplication and one subtraction in place: this runs for every image.
    result = np.multiply(planes, 1 / (255 * spread), dtype=np.float32)
    result -= centre / spread
    return result


def contour(image: np.ndarray, size: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """Return the share of edge pixels in each cell of a grid, float32 [rows x columns].

    ``size`` is that of the picture that the vision tower sees; edges are looked for in that one.
    """
    seen = image if image.shape[:2] == size else shrink(image, size[0])
    edges = (cv2.Canny(cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY), LOW, HIGH) > 0).astype(np.float32)
    return cv2.resize(edges, grid[::-1], interpolation=cv2.INTER_AREA).ravel()
