# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera images to model inputs."""

from collections.abc import Sequence

import cv2
import numpy as np


def squared(image: np.ndarray) -> np.ndarray:
    """Return the image, padded with black to a square where it is none, its content centred.

    Policies see squares. Stretching another shape would move and bend what is seen; a border is
    at worst unknown. Cells, tokens and projections are those of the padded square.
    """
    rows, columns = image.shape[:2]
    if rows == columns:
        return image
    side = max(rows, columns)
    square = np.zeros((side, side, 3), image.dtype)
    top, left = (side - rows) // 2, (side - columns) // 2
    square[top : top + rows, left : left + columns] = image
    return square


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
    planes = np.ascontiguousarray(np.moveaxis(shrink(image, size), -1, 0))
    centre = np.asarray(mean, np.float32).reshape(3, 1, 1)
    spread = np.asarray(std, np.float32).reshape(3, 1, 1)
    # One multiplication and one subtraction in place: this runs for every image.
    result = np.multiply(planes, 1 / (255 * spread), dtype=np.float32)
    result -= centre / spread
    return result
