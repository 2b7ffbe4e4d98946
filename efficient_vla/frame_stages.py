# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Perception and reasoner of a policy whose actor takes the images itself.

They hand on when a frame was taken and what is asked for, so that the graph and its safety stay as
they are.
"""

import time
from collections.abc import Mapping

import numpy as np

from efficient_vla.instructions import checked_instruction
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import InvalidSettingError, refuse_techniques
from efficient_vla.types import Frame, Plan, VisualTokens, grid_map


class FramePerception:
    """One token that stands for the frame."""

    parameters_mb = 0.0
    last = None

    def __init__(
        self, cameras: tuple[str, ...], settings: PerceptionSettings, refused: Mapping[str, str]
    ) -> None:
        """Look at ``cameras``; each technique of ``refused`` is refused with the reason there."""
        self.cameras = cameras
        self._refused = refused
        self.epoch = 0
        self.configure(settings)

    def configure(self, settings: PerceptionSettings) -> None:
        """Raise ``InvalidSettingError`` for a technique of tokens."""
        refuse_techniques('perception', settings, self._refused)
        if settings.signals:
            raise InvalidSettingError(
                'signals is true; expected false, since there are no visual tokens here.'
            )

    def reset(self, reason: str = 'reset') -> None:
        """Begin anew."""
        self.epoch += 1

    def encode(self, frame: Frame) -> VisualTokens:
        """Return the token of a frame."""
        return VisualTokens(
            features=np.zeros((1, 1), np.float32),
            **grid_map(1, (1, 1)),
            age=np.zeros(1, np.float32),
            grid=(1, 1),
            stamp=frame.stamp,
            epoch=self.epoch,
        )


class SentenceReasoner:
    """A plan that says what is asked for."""

    parameters_mb = 0.0
    signals = False
    state_names: tuple[str, ...] = ()

    def __init__(self, settings: ReasonerSettings, refused: Mapping[str, str]) -> None:
        """Refuse the techniques of ``refused``, each with the reason there."""
        self._sequence = 0
        self._refused = refused
        self.configure(settings)

    def configure(self, settings: ReasonerSettings) -> None:
        """Raise ``InvalidSettingError`` for a technique of tokens or of language."""
        refuse_techniques('reasoner', settings, self._refused)
        self._settings = settings

    def reset(self, reason: str = 'reset') -> None:
        """Forget earlier frames; none is remembered."""

    def observe(self, state: np.ndarray, stamp: float) -> None:
        """Take in the robot's state; the actor reads its own."""

    def plan(self, tokens: VisualTokens, instruction: str) -> Plan:
        """Return the plan of a frame."""
        begin = time.perf_counter()
        instruction = checked_instruction(instruction)
        self._sequence += 1
        return Plan(
            latents=np.zeros((1, 1), np.float32),
            instruction=instruction,
            stamp=tokens.stamp,
            valid_for=self._settings.plan_validity,
            sequence=self._sequence,
            kept=tokens.position,
            tokens_total=len(tokens.position),
            latency_ms=(time.perf_counter() - begin) * 1e3,
        )
