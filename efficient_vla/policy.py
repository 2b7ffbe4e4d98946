# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy folder -> its stages, and `Policy`, which runs them without ROS.

Importing this module does not import torch; the stages of a learned policy do.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla.action.settings import ActorSettings
from efficient_vla.errors import CheckpointError
from efficient_vla.instructions import checked_instruction
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.policy_types import stages_of
from efficient_vla.presets import preset_of, refuse_unmet
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import InvalidSettingError, build, specs
from efficient_vla.stages import ActorStage, PerceptionStage, ReasonerStage
from efficient_vla.types import ActionChunk, Frame, Plan, VisualTokens

__all__ = [
    'CheckpointError',
    'Policy',
    'default_policy',
    'load_actor',
    'load_perception',
    'load_reasoner',
]

SETTINGS = {
    'perception': PerceptionSettings,
    'reasoner': ReasonerSettings,
    'actor': ActorSettings,
}


def default_policy() -> Path:
    """Return the folder of the policy that the package ships."""
    here = Path(__file__).resolve().parent.parent
    for folder in (here / 'models', *(p / 'share/efficient_vla/models' for p in here.parents)):
        if (folder / 'evla-nano').is_dir():
            return folder / 'evla-nano'
    raise CheckpointError('the policy evla-nano is not installed. Name a policy folder.')


def load_perception(path: str | PathLike[str], settings: PerceptionSettings) -> PerceptionStage:
    """Return the perception stage of a policy folder."""
    made: PerceptionStage = stages_of(Path(path)).load_perception(Path(path), settings)
    return made


def load_reasoner(path: str | PathLike[str], settings: ReasonerSettings) -> ReasonerStage:
    """Return the reasoner of a policy folder."""
    made: ReasonerStage = stages_of(Path(path)).load_reasoner(Path(path), settings)
    return made


def load_actor(path: str | PathLike[str], settings: ActorSettings) -> ActorStage:
    """Return the actor of a policy folder."""
    made: ActorStage = stages_of(Path(path)).load_actor(Path(path), settings)
    return made


class Policy:
    """All stages of a policy in one process, each running when `act` is called.

    Example::

        policy = Policy.from_pretrained('models/evla-nano', pruning_method='fastv')
        chunk = policy.act(Frame({'corner2': image}, state, stamp), 'open the drawer')
    """

    def __init__(
        self, perception: PerceptionStage, reasoner: ReasonerStage, actor: ActorStage
    ) -> None:
        """Assemble the stages."""
        self.perception = perception
        self.reasoner = reasoner
        self.actor = actor
        self._tokens: VisualTokens | None = None
        self._plan: Plan | None = None

    @classmethod
    def from_pretrained(
        cls, path: str | PathLike[str] | None = None, preset: str = '', **keywords: Any
    ) -> 'Policy':
        """Load a policy folder; keywords are settings with underscores for dots.

        ``preset`` names a method with all that its paper has, such as 'sp_vla' (``presets``);
        keywords are stronger.

        Every parameter of the three stages is a keyword: ``cache_method='reuse'``,
        ``pruning_method='fastv'``, ``pruning_keep=0.5``, ``quantization_mode='bf16'``,
        ``architecture='single'``. Those that a ROS node adds, such as ``threads``, are not.
        """
        folder = Path(path) if path is not None else default_policy()
        settings: dict[str, Any] = {name: build(kind, {}) for name, kind in SETTINGS.items()}
        names = {
            dotted.replace('.', '_'): (stage, dotted)
            for stage, kind in SETTINGS.items()
            for dotted, _, _ in specs(kind)
        }
        for keyword in keywords:
            if keyword not in names:
                raise InvalidSettingError(
                    f'unknown keyword {keyword!r}; known are {", ".join(sorted(names))}.'
                )
        given = {names[keyword]: value for keyword, value in keywords.items()}
        if preset:
            given = preset_of(preset) | given
        for stage, kind in SETTINGS.items():
            settings[stage] = build(kind, {n: v for (of, n), v in given.items() if of == stage})
        return cls.from_settings(folder, settings)

    @classmethod
    def from_settings(cls, path: str | PathLike[str], settings: Mapping[str, Any]) -> 'Policy':
        """Load a policy folder with one settings object a stage, which have to fit together."""
        refuse_unmet(settings)
        return cls(
            load_perception(path, settings['perception']),
            load_reasoner(path, settings['reasoner']),
            load_actor(path, settings['actor']),
        )

    def act(
        self, frame: Frame | np.ndarray, instruction: str, state: np.ndarray | None = None
    ) -> ActionChunk:
        """Return the chunk of actions for one observation.

        ``frame`` is a ``Frame``, or one image with its ``state`` beside it.
        """
        if isinstance(frame, np.ndarray):
            vector = np.zeros(len(self.actor.state_names)) if state is None else np.asarray(state)
            images = dict.fromkeys(self.perception.cameras, frame)
            frame = Frame(images, vector.astype(np.float32), 0.0)
        instruction = checked_instruction(instruction)
        if len(frame.state) == len(self.reasoner.state_names):
            self.reasoner.observe(frame.state, frame.stamp)
        fresh = self.perception.encode(frame)
        self._tokens = fresh or self._tokens
        if fresh is not None or self._plan is None or self._plan.instruction != instruction:
            assert self._tokens is not None
            self._plan = self.reasoner.plan(self._tokens, instruction)
        return self.actor.chunk(self._plan, frame)

    def reset(self) -> None:
        """Start a new episode."""
        self._tokens = self._plan = None
        for stage in (self.perception, self.reasoner, self.actor):
            stage.reset()
