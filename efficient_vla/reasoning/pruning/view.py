# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a selector may look at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from efficient_vla.reasoning.settings import PruningSettings


def _empty() -> torch.Tensor:
    return torch.zeros(0)


@dataclass(slots=True)
class View:
    """The n visual tokens that are still in the sequence before one layer.

    Tensors are empty where the method did not ask for them (``Method.needs``).
    """

    tokens: torch.Tensor
    """Hidden states that enter the layer, [n, D]."""
    text: torch.Tensor
    """Hidden states of the instruction, [L, D]."""
    count: int
    """How many tokens may stay at most."""
    camera: torch.Tensor
    """Index of the camera, int64 [n]."""
    row: torch.Tensor
    """Row in the camera's grid, int64 [n]."""
    column: torch.Tensor
    """Column in the camera's grid, int64 [n]."""
    grid: tuple[int, int]
    settings: PruningSettings
    protected: torch.Tensor = field(default_factory=_empty)
    """Tokens that stay whatever their score, bool [n]."""
    attention: torch.Tensor = field(default_factory=_empty)
    """'attention': probabilities that the instruction gave them in the layer before, mean over
    heads, [L, n]."""
    last: torch.Tensor = field(default_factory=_empty)
    """'attention': the same of the last token of the sequence, [n]."""
    output: torch.Tensor = field(default_factory=_empty)
    """'output': attention output of the layer before, heads concatenated, [n, heads x d]."""
    contour: torch.Tensor = field(default_factory=_empty)
    """'signals': share of edge pixels in the token's patch, 0 to 1, [n]."""
    saliency: torch.Tensor = field(default_factory=_empty)
    """'signals': attention received in the vision tower's last layer, sums to 1, [n]."""
    remembered: torch.Tensor = field(default_factory=_empty)
    """'memory': attention of the instruction in earlier frames, NaN where unknown, [n]."""
    similarity: torch.Tensor = field(default_factory=_empty)
    """'memory': cosine of the token's features with those some frames ago, NaN if unknown, [n]."""
    speed: float = float('nan')
    """Speed of the end effector [m/s], NaN where it is not known."""
    project: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None
    """'projections': queries [Q, D] and keys [K, D] to q [Q, heads, d] and k [K, key heads, d] of
    the layer."""
    scorer: Any = None
    """'scorer': the learned module of the method, from the policy's checkpoint."""
    visit: int = 0
    """How often the method was asked in this pass before."""
    carry: dict[str, torch.Tensor] = field(default_factory=dict)
    """What the method wants to remember between its visits of one pass, by name, each [V]."""
    remaining: torch.Tensor = field(default_factory=_empty)
    """Which of all V visual tokens these are, int64 [n]; indexes what ``carry`` holds."""
    generator: torch.Generator | None = None
