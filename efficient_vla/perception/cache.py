# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Change detection between camera frames, and the rule that decides what is recomputed.

Change is measured on the patches of the vision tower, each against the frame that its own token
was computed from: a comparison with the frame before would never see slow drift.
"""

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from efficient_vla.perception.settings import CacheSettings

MOST_WHOLE_PASSES = 16
"""After an error that was too large, at most so many whole passes precede the next attempt."""
QUARTERS = 4
"""Cells a side of a patch. A patch mean hides a small object that moves inside one patch."""


@dataclass(frozen=True, slots=True)
class Patches:
    """The grid of patches of a vision tower."""

    rows: int
    columns: int
    reach: tuple[int, int] = (0, 0)
    """Quarter cells that the tower sees before and after those of a patch, in each direction."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What of a frame is computed, why, and how much the image changed."""

    rows: np.ndarray
    """Patches to compute, bool [cameras, patches]."""
    probe: np.ndarray
    """Those of ``rows`` that did not change and only measure the error, bool."""
    reason: str
    """Empty where nothing is computed."""
    change: float = 0.0
    """Largest change of a patch."""
    changed: int = 0
    """Patches that changed or grew too old."""

    @property
    def encode(self) -> bool:
        """Whether anything is computed."""
        return bool(self.rows.any())


class PatchGate:
    """Remember from what each patch was computed, and compare each new frame with it."""

    def __init__(self) -> None:
        self._reset_reason = 'first frame'
        self._cameras: tuple[tuple[str, tuple[int, ...]], ...] = ()
        self._reference: np.ndarray | None = None
        """Quarter cells that each patch was computed from, as ``cells_of_patches`` gives them."""
        self._newest: np.ndarray | None = None
        self._computed: np.ndarray = np.zeros((0, 0))
        """Capture time of the frame that each patch was computed from [s], [cameras, patches]."""
        self._changed: np.ndarray = np.zeros((0, 0), bool)
        self._stamp = 0.0
        self._since_full = 0
        self._penalty: dict[int, int] = {}
        """Camera -> whole passes after its last error; doubled by each, halved by each success."""
        self._whole_passes: dict[int, int] = {}
        """Camera -> those of them that are still to come."""

    def reset(self, reason: str = 'reset') -> None:
        """Forget the reference; the next frame is computed for ``reason``."""
        self._reference = None
        self._changed = np.zeros((0, 0), bool)
        self._penalty.clear()
        self._whole_passes.clear()
        self._reset_reason = reason

    def decide(
        self, images: dict[str, np.ndarray], stamp: float, patches: Patches, cache: CacheSettings
    ) -> Decision:
        """Compare with what was computed; ``commit`` follows once the result is there."""
        shape = (len(images), patches.rows * patches.columns)
        nothing = np.zeros(shape, bool)
        if cache.method == 'none':
            self._newest = None
            return Decision(~nothing, nothing, self._reset_reason)
        cameras = tuple((name, image.shape) for name, image in images.items())
        self._newest = np.stack([cells_of_patches(image, patches) for image in images.values()])
        reason = self._invalid(cameras, stamp, cache)
        self._cameras, self._stamp = cameras, stamp
        change = 0.0
        if self._reference is not None and self._reference.shape == self._newest.shape:
            by_patch = patch_change(self._newest, self._reference)
            # Hysteresis: on above the threshold, off at the release.
            self._changed = by_patch > np.where(self._changed, cache.release, cache.threshold)
            change = float(by_patch.max())
        self._since_full += 1
        changed = int(self._changed.sum())
        if reason:
            return Decision(~nothing, nothing, reason, change, changed)
        if cache.method == 'patch':
            return self._some_patches(stamp, cache, change)
        if changed:
            return Decision(~nothing, nothing, 'scene changed', change, changed)
        return Decision(nothing, nothing, '', change)

    def commit(self, rows: np.ndarray, stamp: float) -> None:
        """Take note that ``rows`` of the frame that was decided on last were computed."""
        if rows.all():
            self._reference, self._computed = self._newest, np.full(rows.shape, stamp)
            self._since_full, self._reset_reason = 0, 'no cache'
            if self._changed.shape != rows.shape:
                self._changed = np.zeros(rows.shape, bool)
            return
        assert self._reference is not None
        assert self._newest is not None
        self._reference[rows] = self._newest[rows]
        self._computed[rows] = stamp

    def judge(self, camera: int, failed: bool) -> None:
        """Take note whether the error of a camera's partial pass was too large.

        A partial pass that fails costs more than a whole one, so that no attempt is made in the
        next changed frames, the fewer the better the last attempts went.
        """
        if not failed:
            self._penalty[camera] = self._penalty.get(camera, 0) // 2
            return
        self._penalty[camera] = min(max(2 * self._penalty.get(camera, 0), 1), MOST_WHOLE_PASSES)
        self._whole_passes[camera] = self._penalty[camera]

    def ages(self, stamp: float) -> np.ndarray:
        """Return how old the patches are [s], [cameras, patches]."""
        return stamp - self._computed

    def _invalid(
        self,
        cameras: tuple[tuple[str, tuple[int, ...]], ...],
        stamp: float,
        cache: CacheSettings,
    ) -> str:
        """Return why nothing can be kept, or nothing."""
        if self._reference is None:
            return self._reset_reason
        if [name for name, _ in cameras] != [name for name, _ in self._cameras]:
            return 'camera set changed'
        assert self._newest is not None
        if cameras != self._cameras or self._reference.shape != self._newest.shape:
            return 'image shape changed'
        if stamp < self._stamp:
            return 'clock jumped back'
        if stamp - self._computed.max() > cache.max_age:
            return 'max age'
        if cache.refresh_every and self._since_full + 1 >= cache.refresh_every:
            return 'periodic refresh'
        return ''

    def _some_patches(self, stamp: float, cache: CacheSettings, change: float) -> Decision:
        too_old = self.ages(stamp) > cache.max_age
        rows = self._changed | too_old
        changed = int(rows.sum())
        probe = np.zeros_like(rows)
        whole = rows.mean(1) > cache.max_changed
        distrusted = False
        for camera in np.flatnonzero(rows.any(1) & ~whole):
            if self._whole_passes.get(camera, 0) > 0:
                self._whole_passes[camera] -= 1
                whole[camera] = distrusted = True
                continue
            static = np.flatnonzero(~rows[camera])
            count = min(math.ceil(cache.probe * rows.shape[1]), len(static))
            # The oldest first; among patches of one age, those are spread over the image.
            order = np.lexsort((scattered(rows.shape[1])[static], self._computed[camera, static]))
            probe[camera, static[order[:count]]] = True
        reason = ''
        if rows.any():
            reason = 'patches changed' if self._changed.any() else 'patches too old'
        rows = rows | probe | whole[:, None]
        if distrusted:
            reason = 'token error before'
        elif rows.all():
            reason = 'scene changed' if self._changed.mean() >= too_old.mean() else 'max age'
        return Decision(rows, probe, reason, change, changed)


def cells_of_patches(image: np.ndarray, patches: Patches) -> np.ndarray:
    """Return mean intensities (0 to 1) of the quarter cells that each patch sees.

    float32 [patches, 3, w * w]; w is 4 where a patch sees its own pixels only.
    """
    cells = QUARTERS * patches.columns, QUARTERS * patches.rows
    means = cv2.resize(image, cells, interpolation=cv2.INTER_AREA) * np.float32(1 / 255)
    before, after = patches.reach
    if before or after:
        means = cv2.copyMakeBorder(means, before, after, before, after, cv2.BORDER_REPLICATE)
    width = before + QUARTERS + after
    windows = np.lib.stride_tricks.sliding_window_view(means, (width, width, 3))
    seen = windows[::QUARTERS, ::QUARTERS, 0].transpose(0, 1, 4, 2, 3)  # [rows, columns, 3, w, w]
    return seen.reshape(-1, 3, width * width)


def patch_change(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Return how much each patch changed, [cameras, patches], from [cameras, patches, 3, w * w].

    The largest, over cells and colours, of the absolute difference and of the absolute difference
    less the mean difference. The first sees a plain surface turn brighter, the second sees
    structure move while the brightness changes.
    """
    difference = new - old
    high, low, mean = difference.max(3), difference.min(3), difference.mean(3)
    return np.maximum(np.maximum(high, -low), np.maximum(high - mean, mean - low)).max(2)


@functools.cache
def scattered(count: int) -> np.ndarray:
    """Return ranks of 0 .. count - 1 whose beginnings cover the range evenly (golden ratio)."""
    return np.argsort(np.argsort(np.arange(count) * 0.6180339887498949 % 1.0))
