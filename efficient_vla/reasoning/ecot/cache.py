# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Decide each part of the reasoning at its own low rate, and keep it until something changes.

Fast ECoT (arXiv 2506.07639) caches each part's text, since the higher ones hardly change from one
step to the next. A part is decided anew when the instruction changes, when it grows too old, or
when the plan has moved away from the one that it was decided on, but no more often than a set rate.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from efficient_vla.reasoning.ecot.thinker import PARTS, Thinker
from efficient_vla.reasoning.settings import EcotSettings

SUBGOAL = 'subgoal'


@dataclass(slots=True)
class Thought:
    """What is known beside the latents."""

    text: str = ''
    text_age: float = 0.0
    """Age of the oldest phrase in the text [s]."""
    subgoal: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32, [3], or [0]."""
    subgoal_age: float = 0.0
    decided: tuple[str, ...] = ()
    """Parts that were decided this time."""


@dataclass(slots=True)
class _Decision:
    value: str | np.ndarray
    stamp: float
    latents: torch.Tensor
    """Of the plan, [Q x D], of length 1."""


class Ecot:
    """The parts that were decided, and when."""

    def __init__(self, thinker: Thinker) -> None:
        self._thinker = thinker
        self._instruction = ''
        self._decisions: dict[str, _Decision] = {}

    def reset(self) -> None:
        """Forget all decisions."""
        self._decisions.clear()

    def think(
        self, latents: torch.Tensor, instruction: str, stamp: float, settings: EcotSettings
    ) -> Thought:
        """Return the reasoning for a plan [Q, D] about a frame of ``stamp`` [s]."""
        if instruction != self._instruction:
            self._decisions.clear()
            self._instruction = instruction
        direction = torch.nn.functional.normalize(latents.flatten().float(), dim=0)
        wanted = settings.parts
        due = [part for part in wanted if self._due(part, direction, stamp, settings)]
        phrases = [part for part in due if part in PARTS]
        if phrases:
            said = self._thinker.say(latents, phrases)
            for part, phrase in zip(phrases, said, strict=True):
                self._decisions[part] = _Decision(phrase, stamp, direction)
        if SUBGOAL in due:
            position = self._thinker.subgoal(latents[None])[0].cpu().numpy()
            self._decisions[SUBGOAL] = _Decision(position, stamp, direction)
        return self._thought(wanted, stamp, tuple(due))

    def _due(
        self, part: str, direction: torch.Tensor, stamp: float, settings: EcotSettings
    ) -> bool:
        decision = self._decisions.get(part)
        if decision is None:
            return True
        age = stamp - decision.stamp
        if age < 0 or age > settings.max_age(part):
            return True
        changed = 1 - float(direction @ decision.latents)
        return changed > settings.change and age * settings.max_rate >= 1

    def _thought(self, wanted: tuple[str, ...], stamp: float, due: tuple[str, ...]) -> Thought:
        thought = Thought(decided=due)
        phrases = [self._decisions[part] for part in wanted if part in PARTS]
        if phrases:
            thought.text = '; '.join(str(phrase.value) for phrase in phrases)
            thought.text_age = stamp - min(phrase.stamp for phrase in phrases)
        if SUBGOAL in wanted:
            decision = self._decisions[SUBGOAL]
            assert isinstance(decision.value, np.ndarray)
            thought.subgoal, thought.subgoal_age = decision.value, stamp - decision.stamp
        return thought
