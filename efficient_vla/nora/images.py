# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera images as NORA was trained on them: any shape is stretched to a square."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

SIZE = 224
"""Side of the square [pixels]; no file of the folder says it."""


def square(image: np.ndarray) -> np.ndarray:
    """Return uint8 [rows, columns, 3] as the square that the tower sees, uint8 [S, S, 3]."""
    return np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def pixels(seen: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Return the square normalised, float32 [3, S, S]; ``mean`` and ``std`` of [0, 1]."""
    planes = np.moveaxis(seen, -1, 0).astype(np.float32) / 255
    centre, spread = (np.asarray(part, np.float32).reshape(3, 1, 1) for part in (mean, std))
    return np.ascontiguousarray((planes - centre) / spread)
