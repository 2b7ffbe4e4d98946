# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Frame -> VisualTokens, of the towers of OpenVLA."""

import numpy as np

from efficient_vla.openvla.images import ImageSpec, pixels, square
from efficient_vla.openvla.vision import FusedTower
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.stage import Perception
from efficient_vla.settings import InvalidSettingError

CAMERAS = ('image',)
"""Names where the settings give none."""


class OpenVlaPerception(Perception):
    """The stage of this package; where plans hold the robot's state, no frame may be skipped."""

    def __init__(
        self, tower: FusedTower, images: ImageSpec, reads_state: bool, settings: PerceptionSettings
    ) -> None:
        """See with ``tower``; ``reads_state`` says whether plans hold the state of the robot."""
        crop, self._reads_state = settings.openvla.crop, reads_state

        def framed(image: np.ndarray) -> np.ndarray:
            return square(image, images, crop)

        def seen(image: np.ndarray) -> np.ndarray:
            return pixels(framed(image), images)

        self._refuse_skip(settings)
        super().__init__(tower, settings.cameras or CAMERAS, seen, settings, framed)

    def configure(self, settings: PerceptionSettings) -> None:
        """Apply settings from the next frame on; raises ``InvalidSettingError`` for others."""
        self._refuse_skip(settings)
        super().configure(settings)

    def _refuse_skip(self, settings: PerceptionSettings) -> None:
        if self._reads_state and settings.cache.method == 'skip':
            raise InvalidSettingError(
                'cache.method is skip, which keeps the plan of an unchanged image; expected '
                'another, since the plans of this policy hold the state of the robot. Use reuse.'
            )
