# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""pi0.5 (arXiv 2504.16054): pi0 with the state in the words, and norms that time scales."""

from pathlib import Path

import torch

from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.stage import Actor
from efficient_vla.lerobot import actor, perception, reasoner
from efficient_vla.lerobot.folder import LeRobotFolder, open_folder
from efficient_vla.lerobot.perception import PrefixPerception
from efficient_vla.lerobot.pi0 import Pi
from efficient_vla.lerobot.processors import Batch
from efficient_vla.lerobot.reasoner import PrefixReasoner
from efficient_vla.lerobot.replay import replayed
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.reasoning.settings import ReasonerSettings


def load_perception(folder: Path, settings: PerceptionSettings) -> PrefixPerception:
    """Return the perception stage of a folder."""
    return perception.load(Pi(open_folder(folder, words=False), adaptive=True), settings)


def load_reasoner(folder: Path, settings: ReasonerSettings) -> PrefixReasoner:
    """Return the reasoner of a folder."""
    return reasoner.load(Pi(reasoner.opened(folder, settings), adaptive=True), settings)


def load_actor(folder: Path, settings: ActorSettings) -> Actor:
    """Return the actor of a folder."""
    opened = open_folder(folder, settings.unnorm_key, words=False)
    return actor.load(Pi(opened, adaptive=True), settings)


def replay(
    folder: LeRobotFolder, batch: Batch, noise: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Return what the policy makes of a processed observation, stage by stage."""
    return replayed(Pi(folder, adaptive=True), batch, noise)
