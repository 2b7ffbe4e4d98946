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

from efficient_vla.own_images import WHOLE, OwnImages, token_grid, token_map
from efficient_vla.perception.cache import QUARTERS, Decision, Patches, PatchGate
from efficient_vla.perception.preprocess import contour, squared
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.tower import Memory
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import weights_mb
from efficient_vla.types import MIN_IMAGE_SIDE, Frame, InvalidRecordError, VisualTokens


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
        own: OwnImages | None = None,
    ) -> None:
        """Use a ``VisionTower``, or another that cannot update and is only called.

        ``pixels`` maps one camera image to the tower's input [3, rows, columns], and ``framed`` to
        the picture whose cells are the tower's patches. With ``own`` a camera image is several
        pictures, and both are of one of these.
        """
        self.tower = tower
        self.cameras = cameras
        self.last = PassReport()
        self._pixels, self._framed = pixels, framed
        self._settings = settings
        self._own = own
        self._tiles = own.cut.tiles if own else WHOLE
        example = own.cut.view if own else (MIN_IMAGE_SIDE, MIN_IMAGE_SIDE)
        self.size: tuple[int, int] = pixels(np.zeros((*example, 3), np.uint8)).shape[-2:]
        before, after = (math.ceil(QUARTERS * px / tower.patch_size) for px in tower.reach)
        weight = next(tower.parameters(), None)
        self.device = torch.device('cpu') if weight is None else weight.device
        rows, columns = (length // tower.patch_size for length in self.size)
        self.patches = Patches(rows, columns, (before, after))
        self.engine: Any = None
        """What is known of the engine that executes the tower, where that is not torch."""
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

    @property
    def pictures(self) -> int:
        """Pictures that the tower is given of each camera."""
        return len(self._views(np.zeros((*self.size, 3), np.uint8)))

    def configure(self, settings: PerceptionSettings) -> None:
        """Apply settings from the next frame on; a change of what is kept empties the cache.

        Raises ``InvalidSettingError`` for what needs parts of a tower that is one graph.
        """
        asked = 'cache.method is patch' if settings.cache.method == 'patch' else ''
        asked = 'signals is true' if settings.signals else asked
        if asked and getattr(self.tower, 'whole', None) is not None:
            raise InvalidSettingError(
                f'{asked}, while {settings.engine} executes the vision tower as one graph. Start '
                'the stage with it, so that the graphs are cut between the layers, or set engine '
                'to torch.'
            )
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
        views = {
            f'{camera} {number}': view
            for camera in self.cameras
            for number, view in enumerate(self._views(frame.images[camera]))
        }
        framed = {name: self._framed(view) for name, view in views.items()}
        cache = self._settings.cache
        decision = self._gate.decide(framed, frame.stamp, self.patches, cache)
        rows, reason, error = decision.rows, decision.reason, 0.0
        if decision.encode:
            try:
                rows, reason, error = self._compute([*views.values()], [*framed.values()], decision)
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

    def _views(self, image: np.ndarray) -> list[np.ndarray]:
        """Return the pictures that the tower is given of a camera image."""
        return self._own.views(image) if self._own else [image]

    def _compute(
        self, images: list[np.ndarray], framed: list[np.ndarray], decision: Decision
    ) -> tuple[np.ndarray, str, float]:
        """Compute at least what was decided on; return what, why, and the measured error."""
        cache, signals = self._settings.cache, self._settings.signals
        keep = cache.method == 'patch' and self.tower.can_update
        rows, reason, error = decision.rows.copy(), decision.reason, 0.0
        if cache.method == 'patch' and not keep:
            rows[:], reason = True, 'vision tower has no partial pass'
        with torch.inference_mode():
            if keep or (signals and self.tower.can_update):
                for view in np.flatnonzero(rows.any(1)):
                    image = torch.from_numpy(self._entering(view, images[view])).to(self.device)
                    if not rows[view].all():
                        moved = self._update(view, image, decision)
                        error = max(error, moved)
                        failed = not moved <= cache.max_error
                        self._gate.judge(view, failed)
                        if failed:
                            rows[view], reason = True, 'token error'
                    if rows[view].all():
                        self._memories[view] = self.tower.encode(image, keep, signals)
                    memory = self._memories[view]
                    self._features[view] = self.tower.project(memory).float().cpu().numpy()
                    if signals:
                        received = self.tower.saliency(memory)
                        self._saliency[view] = received.float().cpu().numpy()
            else:
                pixels = np.stack([self._entering(*numbered) for numbered in enumerate(images)])
                features = self.tower(torch.from_numpy(pixels).to(self.device))  # [C, T, D]
                self._features = dict(enumerate(features.float().cpu().numpy()))
        if signals:
            for view in np.flatnonzero(rows.any(1)):
                self._contour[view] = contour(framed[view], self.size, self._grid)
        return rows, reason, error

    def _entering(self, view: int, image: np.ndarray) -> np.ndarray:
        """Return a picture, by its number, as the tower sees it."""
        return self._pixels(image)

    def _update(self, view: int, image: torch.Tensor, decision: Decision) -> float:
        """Compute the patches of one picture that were decided on; return the error of others."""
        patches = np.flatnonzero(decision.rows[view])
        rows = torch.from_numpy(patches).to(self.device)
        moved = self.tower.update(self._memories[view], image, rows)
        probed = moved.float().cpu().numpy()[decision.probe[view, patches]]
        return float(probed.max()) if len(probed) else 0.0

    @property
    def _grid(self) -> tuple[int, int]:
        """Rows and columns of the tokens of one picture."""
        return token_grid((self.patches.rows, self.patches.columns), len(self._features[0]))

    def _tokens(self, stamp: float, rows: np.ndarray, reason: str, started: float) -> VisualTokens:
        order = range(len(self._features))
        features = np.concatenate([self._features[view] for view in order])
        nothing = np.zeros(0, np.float32)
        received = [self._by_token(self._saliency[v][None]).sum(-1).ravel() for v in self._saliency]
        saliency = np.concatenate(received) if received else nothing
        return VisualTokens(
            features=features,
            **token_map(len(features), self._grid, self._tiles),
            age=self._ages(stamp, rows),
            stamp=stamp,
            epoch=self.epoch,
            latency_ms=(time.perf_counter() - started) * 1e3,
            refresh_reason=reason,
            contour=np.concatenate([self._contour[v] for v in order]) if self._contour else nothing,
            saliency=saliency * np.float32(len(self.cameras) / len(order)),
        )

    def _ages(self, stamp: float, rows: np.ndarray) -> np.ndarray:
        """Return float32 [tokens]; a token is as old as the oldest patch in it."""
        fresh = self._by_token(rows).all(-1)
        oldest = self._by_token(self._gate.ages(stamp)).max(-1)
        return np.where(fresh, 0.0, np.maximum(oldest, 1e-9)).astype(np.float32).ravel()

    def _by_token(self, values: np.ndarray) -> np.ndarray:
        """Gather values of patches [views, patches] by token, [views, tokens, patches each]."""
        rows, columns = self._grid
        cell = self.patches.rows // rows
        blocks = values.reshape(len(values), rows, cell, columns, cell).swapaxes(2, 3)
        return blocks.reshape(len(values), rows * columns, cell * cell)
