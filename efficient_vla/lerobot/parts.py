# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the three stages of a prefix policy ask of its type."""

from dataclasses import dataclass
from typing import Protocol

import torch

from efficient_vla.action.heads.expert import Expert
from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.features import EMPTY_CAMERA
from efficient_vla.lerobot.folder import LeRobotFolder
from efficient_vla.perception.preprocess import padded
from efficient_vla.perception.tower import VisionTower
from efficient_vla.reasoning.prefix import Prefix


@dataclass(frozen=True, slots=True)
class Canvas:
    """How an image becomes what the vision tower sees."""

    size: int
    """Rows and columns."""
    anchor: str
    """Where the image is in its border, as ``preprocess.padded`` takes it."""
    clamped: bool

    def __call__(self, planes: torch.Tensor) -> torch.Tensor:
        """Map images [B, 3, rows, columns] of intensities 0 to 1 to [B, 3, size, size], -1 to 1."""
        inner = planes
        if planes.shape[2:] != (self.size, self.size):
            inner = padded(planes, (self.size, self.size), self.anchor)
            inner = inner.clamp(0, 1) if self.clamped else inner
        return inner * 2 - 1


class PrefixParts(Protocol):
    """The parts of one folder; each is read when it is asked for."""

    folder: LeRobotFolder
    steps: int
    """From noise to chunk."""
    canvas: Canvas
    owned: dict[str, tuple[str, ...]]
    """Stage -> patterns of the tensors that it reads; '' -> of those without effect."""
    state_in_words: bool

    @property
    def prefix_width(self) -> int:
        """Numbers in a row of the prefix."""

    def tower(self) -> VisionTower:
        """Return the vision tower."""

    def prefix(self) -> Prefix:
        """Return the language model."""

    def expert(self) -> Expert:
        """Return the action expert."""


def finish(parts: PrefixParts, stage: str) -> None:
    """Raise ``CheckpointError`` where a tensor is left that no stage reads, or this one did not."""
    for owner, patterns in parts.owned.items():
        if owner != stage:
            parts.folder.tensors.without_effect(patterns)
    parts.folder.tensors.finish()


def images_of(folder: LeRobotFolder) -> tuple[int, int]:
    """Return how many images the policy was trained with, and how many of them are never given."""
    keys = [key for key, feature in folder.input_features.items() if feature.kind == 'VISUAL']
    return len(keys), sum(key.startswith(EMPTY_CAMERA) for key in keys)


def square(size: tuple[int, ...], folder: LeRobotFolder, name: str) -> int:
    """Return the side of a square.

    Raises ``CheckpointError`` for another shape: tokens are in a grid of as many rows as columns.
    """
    if len(set(size)) != 1:
        raise CheckpointError(
            f'{folder.config.path} has {name} {list(size)}; expected a square, since the tokens of '
            'a camera are counted by rows and columns alike. Use a policy of square images.'
        )
    return size[0]
