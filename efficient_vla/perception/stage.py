# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Frame -> VisualTokens."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch

from efficient_vla.perception.cache import FrameGate
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.types import Frame
from efficient_vla.types import InvalidRecordError
from efficient_vla.types import VisualTokens


class Perception:
    """Encode camera frames with a vision tower, or reuse the tokens of an unchanged frame."""

    def __init__(
        self,
        tower: Callable[[torch.Tensor], torch.Tensor],
        cameras: tuple[str, ...],
        pixels: Callable[[np.ndarray], np.ndarray],
        settings: PerceptionSettings,
    ) -> None:
        """Use ``tower``: float [cameras, 3, H, W] -> tokens [cameras, T, D].

        ``pixels`` maps one camera image to the tower's input [3, H, W].
        """
        self.tower = tower
        self.cameras = cameras
        self._pixels = pixels
        self._settings = settings
        self._gate = FrameGate()
        self._tokens: VisualTokens | None = None
        self._epoch = 0

    @property
    def parameters_mb(self) -> float:
        """Resident size of the tower's weights [MB]."""
        weights = self.tower.parameters() if isinstance(self.tower, torch.nn.Module) else ()
        return sum(w.numel() * w.element_size() for w in weights) / 1e6

    def configure(self, settings: PerceptionSettings) -> None:
        """Apply settings from the next frame on; a change of the method empties the cache."""
        if settings.cache.method != self._settings.cache.method:
            self.reset('cache method changed')
        self._settings = settings

    def reset(self, reason: str = 'reset') -> None:
        """Forget all tokens."""
        self._gate.reset(reason)
        self._tokens = None
        self._epoch += 1

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
        images = {camera: frame.images[camera] for camera in self.cameras}
        decision = self._gate.decide(images, frame.stamp, self._settings.cache)
        if not decision.encode and self._tokens is not None:
            if self._settings.cache.method == 'skip':
                return None
            return self._reuse(frame.stamp, started)
        self._tokens = self._compute(images, frame.stamp, decision.reason, started)
        return self._tokens

    def _reuse(self, stamp: float, started: float) -> VisualTokens:
        assert self._tokens is not None
        age = np.maximum(self._tokens.age + (stamp - self._tokens.stamp), 1e-9)
        return dataclasses.replace(
            self._tokens,
            age=age.astype(np.float32),
            stamp=stamp,
            latency_ms=(time.perf_counter() - started) * 1e3,
            refresh_reason='',
        )

    def _compute(self, images: dict, stamp: float, reason: str, started: float) -> VisualTokens:
        pixels = np.stack([self._pixels(image) for image in images.values()])
        with torch.inference_mode():
            features = self.tower(torch.from_numpy(pixels)).float()  # [C, T, D]
        cameras, per_camera, width = features.shape
        side = round(per_camera**0.5)
        cell = np.arange(cameras * per_camera, dtype=np.int32)
        return VisualTokens(
            features=features.reshape(-1, width).numpy(),
            camera=cell // per_camera,
            row=cell % per_camera // side,
            column=cell % side,
            position=cell,
            age=np.zeros(len(cell), np.float32),
            grid=(side, side),
            stamp=stamp,
            epoch=self._epoch,
            latency_ms=(time.perf_counter() - started) * 1e3,
            refresh_reason=reason,
        )
