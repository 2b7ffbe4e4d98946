# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a method that decides for each frame which layers run is to the reasoner."""

from typing import Protocol

import numpy as np
import torch

from efficient_vla.reasoning.depth import DepthSettings
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.runner import Route


class PilotedRoute(Route, Protocol):
    """Which layers run in one pass, and what became of it."""

    latents: torch.Tensor | None
    """The plan [1, Q, D] where the pass ended before its last layer."""

    @property
    def whole(self) -> bool:
        """Whether all layers of the decoder ran."""

    def left(self, layers: Layers) -> Layers:
        """Return those of the layers that are certain to run."""

    def spent(self) -> str:
        """Say in words which layers ran."""


class Pilot(Protocol):
    """Who makes the route of each pass."""

    parameters_mb: float
    """Resident size of its own weights, in units of 1e6 bytes."""

    def configure(self, settings: DepthSettings) -> None:
        """Apply settings from the next pass on; raises ``InvalidSettingError`` for others."""

    def reset(self) -> None:
        """Start a new episode."""

    def route(
        self, visual: torch.Tensor, text: torch.Tensor, state: np.ndarray | None
    ) -> PilotedRoute:
        """Return the route of tokens [V, D], words [L, D] and the robot's state [S]."""
