# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How a new chunk takes over: one file a method, found by its name."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from efficient_vla.control.blending.latest_only import LatestOnly
from efficient_vla.control.blending.offset_fade import OffsetFade
from efficient_vla.control.blending.temporal_ensemble import TemporalEnsemble
from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory


class Blending(Protocol):
    """Joins trajectories into one reference."""

    def add(self, trajectory: Trajectory, time: float, position: np.ndarray) -> None:
        """Take ``trajectory`` over from the set-point ``position`` [M] commanded at ``time``."""

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the reference at ``time``: position [M] and velocity [M]."""


METHODS: dict[str, Callable[[BlendingSettings], Blending]] = {
    'latest_only': LatestOnly,
    'offset_fade': OffsetFade,
    'temporal_ensemble': TemporalEnsemble,
}
