# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Frame -> VisualTokens."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from efficient_vla.perception.cache import QUARTERS, Decision, Patches, PatchGate
from efficient_vla.perception.preprocess import contour, squared
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.tower import Memory
from efficient_vla.tensors import weights_mb
from efficient_vla.types import MIN_IMAGE_SIDE, Frame, InvalidRecordError, VisualTokens, grid_map


@dataclasses.dataclass(frozen=True, slots=True)
class PassReport:
    """What the last frame cost, in patches of the vision tower over all cameras."""

    patches: int = 0
    changed: int = 0
    """Those that changed or grew too old."""
    computed: int = 0
    """Those that were computed: the changed ones, probes, or all."""
    change: float = 0.0
    """Largest change of a patch since it was computed, intensity from 0 to 1."""
    token_error: float = 0.0
    """Largest relative change of a probed patch's hidden state; 0 where nothing was probed."""


class Perception:
    """Encode camera frames with a vision tower, or the parts of them that changed."""

    def __init__(
        self,
        tower: Any,
        cameras: tuple[str, ...],
        pixels: Callable[[np.ndarray], np.ndarray],
        settings: PerceptionSettings,
        framed: Callable[[np.ndarray], np.ndarray] = squared,
    ) -> None:
        """Use a ``VisionTower``, or another that cannot update and is only called.

        ``pixels`` maps one camera image to the tower's input [3, size, size], and ``framed`` to the
        square whose cells are the tower's patches.
        """
        self.tower = tower
        self.cameras = cameras
        self.last = PassReport()
        self._pixels, self._framed = pixels, framed
        self._settings = settings
        self._size = pixels(np.zeros((MIN_IMAGE_SIDE, MIN_IMAGE_SIDE, 3), np.uint8)).shape[-1]
        before, after = (math.ceil(QUARTERS * px / tower.patch_size) for px in tower.reach)
        weight = next(tower.parameters(), None)
        self._device = torch.device('cpu') if weight is None else weight.device
        self.patches = Patches(self._size // tower.patch_size, (before, after))
        self._gate = PatchGate()
        self._memories: dict[int, Memory] = {}
        self._features: dict[int, np.ndarray] = {}
        self._contour: dict[int, np.ndarray] = {}
        self._saliency: dict[int, np.ndarray] = {}
        self._sent: VisualTokens | None = None
        self.epoch = 0

    @property
    def parameters_mb(self) -> float:
        """Resident size of the tower's weights [MB]."""
        return weights_mb(self.tower)

    def configure(self, settings: PerceptionSettings) -> None:
        """Apply settings from the next frame on; a change of what is kept empties the cache."""
        if settings.cache.method != self._settings.cache.method:
            self.reset('cache method changed')
        elif settings.signals != self._settings.signals:
            self.reset('signals switched')
        self._settings = settings

    def reset(self, reason: str = 'reset') -> None:
        """Forget all tokens."""
        self._gate.reset(reason)
        for kept in (self._memories, self._features, self._contour, self._saliency):
            kept.clear()
        self._sent = None
        self.epoch += 1

    def encode(self, frame: Frame) -> VisualTokens | None:
        """Return the frame's tokens, or ``None`` where cache method 'skip' finds it unchanged.

        Raises ``InvalidRecordError`` when a camera is missing.
        """
        started = time.perf_counter()
        missing = [camera for camera in self.cameras if camera not in frame.images]
        if missing:
            raise InvalidRecordError(
                f'frame has the cameras {sorted(frame.images)}; the policy expects '
                f'{list(self.cameras)}. Remap the topics of the cameras {missing}.'
            )
        images = {camera: self._framed(frame.images[camera]) for camera in self.cameras}
        cache = self._settings.cache
        decision = self._gate.decide(images, frame.stamp, self.patches, cache)
        rows, reason, error = decision.rows, decision.reason, 0.0
        if decision.encode:
            try:
                rows, reason, error = self._compute(frame, list(images.values()), decision)
                self._gate.commit(rows, frame.stamp)
                self._sent = self._tokens(frame.stamp, rows, reason, started)
            except BaseException:
                # Some slots may be newer than others now, and none of them is known to be right.
                self.reset('pass failed')
                raise
        self.last = PassReport(rows.size, decision.changed, int(rows.sum()), decision.change, error)
        if not decision.encode:
            if cache.method == 'skip':
                return None
            assert self._sent is not None
            self._sent = dataclasses.replace(
                self._sent,
                age=self._ages(frame.stamp, rows),
                stamp=frame.stamp,
                latency_ms=(time.perf_counter() - started) * 1e3,
                refresh_reason='',
            )
        return self._sent

    def _compute(
        self, frame: Frame, framed: list[np.ndarray], decision: Decision
    ) -> tuple[np.ndarray, str, float]:
        """Compute at least what was decided on; return what, why, and the measured error."""
        cache, signals = self._settings.cache, self._settings.signals
        images = [frame.images[camera] for camera in self.cameras]
        keep = cache.method == 'patch' and self.tower.can_update
        rows, reason, error = decision.rows.copy(), decision.reason, 0.0
        if cache.method == 'patch' and not keep:
            rows[:], reason = True, 'vision tower has no partial pass'
        with torch.inference_mode():
            if keep or (signals and self.tower.can_update):
                for camera in np.flatnonzero(rows.any(1)):
                    image = torch.from_numpy(self._entering(camera, images[camera])).to(
                        self._device
                    )
                    if not rows[camera].all():
                        moved = self._update(camera, image, decision)
                        error = max(error, moved)
                        failed = not moved <= cache.max_error
                        self._gate.judge(camera, failed)
                        if failed:
                            rows[camera], reason = True, 'token error'
                    if rows[camera].all():
                        self._memories[camera] = self.tower.encode(image, keep, signals)
                    memory = self._memories[camera]
                    self._features[camera] = self.tower.project(memory).float().cpu().numpy()
                    if signals:
                        received = self.tower.saliency(memory)
                        self._saliency[camera] = received.float().cpu().numpy()
            else:
                pixels = np.stack([self._entering(*numbered) for numbered in enumerate(images)])
                features = self.tower(torch.from_numpy(pixels).to(self._device))  # [C, T, D]
                self._features = dict(enumerate(features.float().cpu().numpy()))
        if signals:
            for camera in np.flatnonzero(rows.any(1)):
                side = math.isqrt(len(self._features[camera]))
                self._contour[camera] = contour(framed[camera], self._size, side)
        return rows, reason, error

    def _entering(self, camera: int, image: np.ndarray) -> np.ndarray:
        """Return the image of a camera, by its number, as the tower sees it."""
        return self._pixels(image)

    def _update(self, camera: int, image: torch.Tensor, decision: Decision) -> float:
        """Compute the patches of one camera that were decided on; return the error of others."""
        patches = np.flatnonzero(decision.rows[camera])
        rows = torch.from_numpy(patches).to(self._device)
        moved = self.tower.update(self._memories[camera], image, rows)
        probed = moved.float().cpu().numpy()[decision.probe[camera, patches]]
        return float(probed.max()) if len(probed) else 0.0

    def _tokens(self, stamp: float, rows: np.ndarray, reason: str, started: float) -> VisualTokens:
        order = range(len(self._features))
        features = np.concatenate([self._features[camera] for camera in order])
        side = math.isqrt(len(features) // len(order))
        nothing = np.zeros(0, np.float32)
        saliency = [self._by_token(self._saliency[c][None], side).sum(-1) for c in self._saliency]
        return VisualTokens(
            features=features,
            **grid_map(len(features), (side, side)),
            age=self._ages(stamp, rows),
            grid=(side, side),
            stamp=stamp,
            epoch=self.epoch,
            latency_ms=(time.perf_counter() - started) * 1e3,
            refresh_reason=reason,
            contour=np.concatenate([self._contour[c] for c in order]) if self._contour else nothing,
            saliency=np.concatenate(saliency).ravel() if saliency else nothing,
        )

    def _ages(self, stamp: float, rows: np.ndarray) -> np.ndarray:
        """Return float32 [tokens]; a token is as old as the oldest patch in it."""
        side = math.isqrt(len(self._features[0]))
        fresh = self._by_token(rows, side).all(-1)
        oldest = self._by_token(self._gate.ages(stamp), side).max(-1)
        return np.where(fresh, 0.0, np.maximum(oldest, 1e-9)).astype(np.float32).ravel()

    def _by_token(self, values: np.ndarray, side: int) -> np.ndarray:
        """Gather values of patches [cameras, patches] by token, [cameras, side^2, patches each]."""
        cameras, cell = len(values), self.patches.side // side
        blocks = values.reshape(cameras, side, cell, side, cell).swapaxes(2, 3)
        return blocks.reshape(cameras, side * side, cell * cell)
