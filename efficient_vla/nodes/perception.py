# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Images in, visual tokens out."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla import msg
from efficient_vla.nodes.cameras import Cameras
from efficient_vla.nodes.cameras import ImageSet
from efficient_vla.nodes.conversions import tokens_to_message
from efficient_vla.nodes.qos import newest_qos
from efficient_vla.nodes.settings import PerceptionNodeSettings
from efficient_vla.nodes.stage import Pass
from efficient_vla.nodes.stage import StageNode
from efficient_vla.nodes.stage import timed
from efficient_vla.policy import load_perception
from efficient_vla.types import Frame


class PerceptionNode(StageNode[PerceptionNodeSettings, ImageSet]):
    """Encode the newest image whenever the one before is done."""

    stage_constant = msg.EfficiencyStats.STAGE_PERCEPTION

    def __init__(self, **options: Any) -> None:
        self._cameras: Cameras | None = None
        self._count = 0
        super().__init__('perception', PerceptionNodeSettings, **options)
        self._tokens = self.create_lifecycle_publisher(
            msg.VisualTokens, 'visual_tokens', newest_qos()
        )
        self.offer_reset()

    def load(self, folder: Path) -> Any:
        """Return the perception stage."""
        return load_perception(folder, self.settings)

    def connect(self) -> None:
        """Subscribe to the cameras of the policy."""
        self._cameras = Cameras(self, self.stage.cameras, self.submit)

    def disconnect(self) -> None:
        """End the subscriptions."""
        if self._cameras is not None:
            self._cameras.close()
        self._cameras = None

    def flush(self, reason: str) -> None:
        """Forget earlier images."""
        if self._cameras is not None:
            self._cameras.clear()
        super().flush(reason)

    def method(self) -> str:
        """Return the cache's method."""
        cache = self.settings.cache
        return '' if cache.method == 'none' else f'cache={cache.method} threshold={cache.threshold}'

    def work(self, job: ImageSet) -> None:
        """Encode one set of images; nothing is sent where the cache skips it."""
        begin = time.perf_counter()
        tokens = self.stage.encode(Frame(job.images, np.zeros(0, np.float32), job.stamp))
        latency = timed(begin)
        if tokens is not None:
            self._tokens.publish(tokens_to_message(tokens))
            self._count, self.epoch = len(tokens.features), tokens.epoch
        self.publish_pass(
            Pass(
                stamp=job.stamp,
                latency_ms=latency,
                transport_ms=job.transport_ms,
                tokens_total=self._count,
                tokens_kept=self._count,
                tokens_reused=self._count if tokens is None else int(tokens.reused.sum()),
                refresh_reason='' if tokens is None else tokens.refresh_reason,
            )
        )
