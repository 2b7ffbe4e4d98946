# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the three stages of a policy can do, whatever they are made of."""

from typing import Protocol

import numpy as np

from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.types import ActionChunk, Execution, Frame, Plan, VisualTokens


class PerceptionStage(Protocol):
    """Frame -> VisualTokens."""

    cameras: tuple[str, ...]
    parameters_mb: float

    def encode(self, frame: Frame) -> VisualTokens | None:
        """Return tokens, or ``None`` when the frame is skipped because nothing changed."""

    def configure(self, settings: PerceptionSettings) -> None:
        """Apply settings from the next frame on."""

    def reset(self, reason: str = 'reset') -> None:
        """Forget earlier frames."""


class ReasonerStage(Protocol):
    """VisualTokens + instruction -> Plan."""

    parameters_mb: float
    state_names: tuple[str, ...]
    """What ``observe`` is given; empty where the stage does not look at the robot."""

    def observe(self, state: np.ndarray, stamp: float) -> None:
        """Take in the robot's state [S] at ``stamp`` [s]."""

    def plan(self, tokens: VisualTokens, instruction: str) -> Plan:
        """Return the plan for one frame."""

    def configure(self, settings: ReasonerSettings) -> None:
        """Apply settings from the next plan on."""

    def reset(self, reason: str = 'reset') -> None:
        """Forget earlier frames."""


class ActorStage(Protocol):
    """Plan + Frame -> ActionChunk."""

    cameras: tuple[str, ...]
    architecture: str
    needs_image: bool
    state_names: tuple[str, ...]
    parameters_mb: float

    def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
        """Return the actions that follow ``frame``."""

    def note_execution(self, execution: Execution | None) -> None:
        """Take in how the controller executes its newest chunk, ``None`` where it has none.

        Raises ``InvalidSettingError`` where its blending needs help that the head cannot give.
        """

    def reset(self, reason: str = 'reset') -> None:
        """Forget earlier frames."""
