# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The stages of a prefix policy, whichever its type."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.stage import Actor
from efficient_vla.lerobot import actor, perception, reasoner
from efficient_vla.lerobot.folder import LeRobotFolder, open_folder
from efficient_vla.lerobot.parts import PrefixParts
from efficient_vla.lerobot.perception import PrefixPerception
from efficient_vla.lerobot.processors import Batch
from efficient_vla.lerobot.reasoner import PrefixReasoner
from efficient_vla.lerobot.replay import replayed
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.settings import ReasonerSettings


@dataclass(frozen=True, slots=True)
class PrefixPolicy:
    """What a type's module offers, by what makes the parts of a folder."""

    parts: Callable[[LeRobotFolder], PrefixParts]

    def load_perception(self, folder: Path, settings: PerceptionSettings) -> PrefixPerception:
        """Return the perception stage of a folder."""
        return perception.load(self.parts(open_folder(folder, words=False)), settings)

    def load_reasoner(self, folder: Path, settings: ReasonerSettings) -> PrefixReasoner:
        """Return the reasoner of a folder."""
        opened = open_folder(folder, settings.unnorm_key, settings.tokenizer)
        return reasoner.load(self.parts(opened), settings)

    def load_actor(self, folder: Path, settings: ActorSettings) -> Actor:
        """Return the actor of a folder."""
        opened = open_folder(folder, settings.unnorm_key, words=False)
        return actor.load(self.parts(opened), settings)

    def replay(
        self, folder: LeRobotFolder, batch: Batch, noise: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """Return what the policy makes of a processed observation, stage by stage."""
        return replayed(self.parts(folder), batch, noise)
