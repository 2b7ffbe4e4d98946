# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the three stages of a policy can do, whatever they are made of."""

from typing import Any, Protocol, runtime_checkable

import numpy as np

from efficient_vla.types import ActionChunk, Execution, Frame, Plan, VisualTokens


class Stage(Protocol):
    """What all three have."""

    @property
    def parameters_mb(self) -> float:
        """Resident size of the weights, in units of 1e6 bytes."""

    def configure(self, settings: Any) -> None:
        """Apply settings of the stage from the next pass on, or raise why they cannot be."""

    def reset(self, reason: str = 'reset') -> None:
        """Forget earlier frames."""


class PerceptionStage(Stage, Protocol):
    """Frame -> VisualTokens."""

    cameras: tuple[str, ...]
    epoch: int
    """Of the tokens; it rises when the caches are emptied."""
    last: Any
    """What the last frame cost, a dataclass for the diagnostics, or ``None``."""

    def encode(self, frame: Frame) -> VisualTokens | None:
        """Return tokens, or ``None`` when the frame is skipped because nothing changed."""


class ReasonerStage(Stage, Protocol):
    """VisualTokens + instruction -> Plan."""

    state_names: tuple[str, ...]
    """What ``observe`` is given; empty where the stage does not look at the robot."""
    signals: bool
    """Whether the newest tokens carry contours and saliency, for what needs them in settings."""

    def observe(self, state: np.ndarray, stamp: float) -> None:
        """Take in the robot's state [S] at ``stamp`` [s]."""

    def plan(self, tokens: VisualTokens, instruction: str) -> Plan:
        """Return the plan for one frame."""


class ActorStage(Stage, Protocol):
    """Plan + Frame -> ActionChunk."""

    cameras: tuple[str, ...]
    architecture: str
    needs_image: bool
    state_names: tuple[str, ...]

    def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
        """Return the actions that follow ``frame``."""

    def note_execution(self, execution: Execution | None) -> None:
        """Take in how the controller executes its newest chunk, ``None`` where it has none.

        Raises ``InvalidSettingError`` where its blending needs help that the head cannot give.
        """


@runtime_checkable
class LooksBack(Protocol):
    """An actor that may look at frames before the newest one."""

    @property
    def looks_back(self) -> float:
        """Seconds to the oldest of them; 0 where it looks at the newest alone."""

    def see(self, frame: Frame) -> None:
        """Remember a frame; called from any thread, while a chunk is made too."""


def takes_sent_cache(actor: ActorStage) -> bool:
    """Return whether the actor decodes keys and values that may come from another process."""
    return bool(getattr(getattr(actor, 'generator', None), 'takes_sent_cache', False))


def looking_back(actor: ActorStage) -> LooksBack | None:
    """Return the actor where it looks at earlier frames too."""
    return actor if isinstance(actor, LooksBack) and actor.looks_back > 0 else None
