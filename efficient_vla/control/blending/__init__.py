# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How a new chunk takes over: one file a method, found by its name."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from efficient_vla.control.blending.latest_only import LatestOnly
from efficient_vla.control.blending.offset_fade import OffsetFade
from efficient_vla.control.blending.rtc import RealTimeChunking
from efficient_vla.control.blending.temporal_ensemble import TemporalEnsemble
from efficient_vla.control.blending.weighted_average import WeightedAverage
from efficient_vla.control.moment import Moment
from efficient_vla.control.settings import BlendingSettings
from efficient_vla.control.trajectory import Trajectory
from efficient_vla.types import GUIDED


class Blending(Protocol):
    """Joins trajectories into one reference; a motion is position, velocity and acceleration."""

    def add(self, trajectory: Trajectory, moment: Moment, motion: np.ndarray) -> None:
        """Take ``trajectory`` over from the set-point's ``motion`` [3, M] at ``moment``."""

    def at(self, moment: Moment) -> np.ndarray:
        """Return the reference's motion at ``moment`` [3, M]."""


METHODS: dict[str, Callable[[BlendingSettings], Blending]] = {
    'latest_only': LatestOnly,
    'weighted_average': WeightedAverage,
    'temporal_ensemble': TemporalEnsemble,
    'offset_fade': OffsetFade,
    **dict.fromkeys(GUIDED, RealTimeChunking),
}
