# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a selector may look at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from efficient_vla.reasoning.runner import LayerInput, empty
from efficient_vla.reasoning.settings import PruningSettings
from efficient_vla.types import VisualTokens


@dataclass(slots=True, kw_only=True)
class View(LayerInput):
    """The n tokens before a layer, and what is known of them from elsewhere.

    Tensors are empty where the method did not say that it needs them (``Method.needs``).
    """

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
    protected: torch.Tensor = field(default_factory=empty)
    """Tokens that stay whatever their score, bool [n]."""
    saliency: torch.Tensor = field(default_factory=empty)
    """'signals': attention received in the vision tower's last layer, sums to 1, [n]."""
    remembered: torch.Tensor = field(default_factory=empty)
    """'memory': attention of the instruction in earlier frames, by observed layer, NaN where
    unknown, [layers, n]."""
    similarity: torch.Tensor = field(default_factory=empty)
    """'memory': cosine of the token's features with those some plans ago, NaN if unknown, [n]."""
    speed: float = float('nan')
    """Speed of the end effector [m/s], NaN where it is not known."""
    vertical: float = float('nan')
    """Its vertical part, above 0 where the arm rises [m/s]; NaN also of a state of joints."""
    project: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None
    """'projections': queries [Q, D] and keys [K, D] to q [Q, heads, d] and k [K, key heads, d] of
    the layer."""
    scorer: Any = None
    """The learned module of the method, where the policy has one."""
    visit: int = 0
    """How often the method chose in this pass before."""
    carry: dict[str, torch.Tensor] = field(default_factory=dict)
    """What the method wants to remember between its visits of one pass, by name, each [V]."""
    generator: torch.Generator | None = None


def token_map(tokens: VisualTokens, device: torch.device) -> dict[str, torch.Tensor]:
    """Return camera, row and column of visual tokens by the names of ``View``, int64 [V] each."""
    names = ('camera', 'row', 'column')
    return {name: torch.from_numpy(getattr(tokens, name)).long().to(device) for name in names}
