# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera images to model inputs."""

import cv2
import numpy as np


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Return the image resized to [size, size, 3]; area averaging, so that no pixel is skipped."""
    if image.shape[:2] == (size, size):
        return image
    smaller = image.shape[0] > size and image.shape[1] > size
    return cv2.resize(
        image, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )


def normalise(image: np.ndarray) -> np.ndarray:
    """Return uint8 [..., rows, columns, 3] as float32 [..., 3, rows, columns] in [-1, 1]."""
    return np.moveaxis(image, -1, -3).astype(np.float32) / 127.5 - 1.0
