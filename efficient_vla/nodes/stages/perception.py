# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Images in, visual tokens out."""

import dataclasses
import math
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from efficient_vla import msg
from efficient_vla.bringup.settings import PerceptionNodeSettings
from efficient_vla.nodes.base.conversions import tokens_to_message
from efficient_vla.nodes.base.qos import newest_qos, state_qos
from efficient_vla.nodes.stages.cameras import Cameras, ImageSet
from efficient_vla.nodes.stages.frozen import FrozenCameras
from efficient_vla.nodes.stages.stage import SIGNALS_WANTED, Pass, StageNode
from efficient_vla.places import PolicyPlace
from efficient_vla.policy import load_perception
from efficient_vla.settings import InvalidSettingError
from efficient_vla.stages import PerceptionStage
from efficient_vla.statistics import Savings
from efficient_vla.types import Frame, VisualTokens


class PerceptionNode(StageNode[PerceptionNodeSettings, ImageSet, PerceptionStage]):
    """Encode the newest image whenever the one before is done."""

    stage_constant = msg.EfficiencyStats.STAGE_PERCEPTION

    def __init__(self, **options: Any) -> None:
        self._frozen = FrozenCameras()
        self._newest: VisualTokens | None = None
        self._came = math.nan
        """Capture time of the newest images that came [s]."""
        self._savings = Savings()
        super().__init__('perception', PerceptionNodeSettings, **options)
        self._tokens = self._output = self.create_lifecycle_publisher(
            msg.VisualTokens, 'visual_tokens', newest_qos()
        )
        self.create_subscription(JointState, 'robot_state', self._state_received, state_qos())
        self.offer_reset()

    @property
    def epoch(self) -> int:  # type: ignore[override]
        """Of the tokens; it rises when the caches are emptied."""
        return self.stage.epoch if self.stage is not None else 0

    def load(self, place: PolicyPlace) -> PerceptionStage:
        """Return the perception stage."""
        return load_perception(place, self.settings)

    def connect(self) -> None:
        """Subscribe to the cameras of the policy."""
        self._cameras = Cameras(
            self, self.loaded.cameras, self._images_received, lambda: self.active
        )

    def accept(self, settings: PerceptionNodeSettings) -> None:
        """Refuse to leave out the signals that the pruning of a reasoner needs."""
        off = self.settings.signals and not settings.signals
        if off and self.count_subscribers(SIGNALS_WANTED):
            raise InvalidSettingError(
                'signals is false; expected true while the pruning of the reasoner needs them. '
                'Set reasoner.pruning.method to none and its protect.contours to 0 first.'
            )
        super().accept(settings)

    def flush(self, reason: str) -> None:
        """Forget earlier images."""
        self._frozen = FrozenCameras()
        self._came = math.nan
        super().flush(reason)

    def start(self) -> None:
        """Wait for images."""
        self._came = math.nan
        super().start()

    def method(self) -> str:
        """Return the cache's method."""
        cache = self.applied.cache
        return '' if cache.method == 'none' else f'cache={cache.method} threshold={cache.threshold}'

    def report(self) -> dict[str, Any]:
        """Return what /diagnostics shows; a vision tower adds what the last frame cost it."""
        last = self.loaded.last
        shown = {**super().report(), 'image_age_s': self.now() - self._came}
        return {**shown, **(dataclasses.asdict(last) if last is not None else {})}

    def work(self, job: ImageSet) -> Pass:
        """Encode one set of images; nothing is sent where the cache skips it."""
        tokens = self.timed(
            self.loaded.encode, Frame(job.images, np.zeros(0, np.float32), job.stamp)
        )
        age: np.ndarray = np.zeros(0, np.float32)
        reused: np.ndarray = np.zeros(0, bool)
        if tokens is not None:
            self._newest = tokens
            age, reused = tokens.age, tokens.reused
        elif self._newest is not None:
            # The reasoner still has these; nothing of this frame was computed.
            age = self._newest.age + np.float32(max(job.stamp - self._newest.stamp, 0.0))
            reused = np.ones(len(age), bool)
        return Pass(
            stamp=job.stamp,
            transport_ms=job.transport_ms,
            message=None if tokens is None else tokens_to_message(tokens),
            tokens_total=len(age),
            tokens_kept=len(age),
            tokens_reused=int(reused.sum()),
            oldest_age_s=float(age[reused].max(initial=0.0)),
            refresh_reason='' if tokens is None else tokens.refresh_reason,
            saved_ms=self._savings.add(self.took_ms, full=not reused.any()),
        )

    def _images_received(self, images: ImageSet) -> None:
        self._came = images.stamp
        self.health.warn('frozen', self._frozen.see(images.images, images.stamp))
        self.submit(images)

    def _state_received(self, message: JointState) -> None:
        if self.active:
            self._frozen.move(tuple(message.name), np.asarray(message.position, np.float64))
