# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Change detection between camera frames, and the rule that decides what is recomputed."""

from dataclasses import dataclass

import cv2
import numpy as np

from efficient_vla.perception.settings import CacheSettings

PATCHES = 12
"""Side of the grid on which change is measured; one cell is one visual token of evla-nano."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to encode a frame, why, and how much the image changed."""

    encode: bool
    reason: str
    change: float = 0.0


class FrameGate:
    """Remember the frame that was encoded last and compare each new one with it."""

    def __init__(self) -> None:
        """Start empty, so that the first frame is encoded."""
        self._grid: np.ndarray | None = None
        self._stamp = 0.0
        self._reset_reason = 'first frame'

    def reset(self, reason: str = 'reset') -> None:
        """Forget the reference frame; the next frame is encoded for ``reason``."""
        self._grid = None
        self._reset_reason = reason

    def decide(self, images: dict[str, np.ndarray], stamp: float, cache: CacheSettings) -> Decision:
        """Compare with the last encoded frame; remember this one when it is to be encoded."""
        grid = np.stack([_patch_means(image) for image in images.values()])
        decision = self._judge(grid, stamp, cache)
        if decision.encode:
            self._grid, self._stamp = grid, stamp
        return decision

    def _judge(self, grid: np.ndarray, stamp: float, cache: CacheSettings) -> Decision:
        if self._grid is None or self._grid.shape != grid.shape:
            return Decision(True, self._reset_reason)
        change = float(np.abs(grid - self._grid).max())
        if cache.method == 'none':
            return Decision(True, 'no cache', change)
        if stamp < self._stamp:
            return Decision(True, 'clock jumped back', change)
        if stamp - self._stamp > cache.max_age:
            return Decision(True, 'max age', change)
        if change > cache.threshold:
            return Decision(True, 'scene changed', change)
        return Decision(False, '', change)


def _patch_means(image: np.ndarray) -> np.ndarray:
    """Return mean intensities (0 to 1) of a 4 times finer grid than the tokens', [48, 48, 3].

    A patch mean hides a small object that moves inside one patch, so change is taken on quarters.
    """
    side = 4 * PATCHES
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
