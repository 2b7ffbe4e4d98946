# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What an image says about its tokens without a network."""

import cv2
import numpy as np

from efficient_vla.perception.preprocess import shrink

LOW, HIGH = 100, 200
"""Thresholds of Canny's hysteresis, as SP-VLA sets them, arXiv 2506.12723, in its code."""


def contour(image: np.ndarray, size: int, side: int) -> np.ndarray:
    """Return the share of edge pixels in each of side x side cells, float32 [side^2].

    ``size`` is the side of the image that the vision tower sees; edges are looked for in that one.
    """
    grey = cv2.cvtColor(shrink(image, size), cv2.COLOR_RGB2GRAY)
    edges = (cv2.Canny(grey, LOW, HIGH) > 0).astype(np.float32)
    return cv2.resize(edges, (side, side), interpolation=cv2.INTER_AREA).ravel()
