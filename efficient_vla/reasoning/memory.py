# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What earlier frames told of each token: attention of the instruction, and features.

Attention that was computed without a token says nothing about it. A token that was dropped is
therefore unknown, not unimportant: its last known value drifts towards the typical one.
"""

from collections import deque

import torch
from torch.nn.functional import cosine_similarity

DRIFT = 0.8
"""Share of its distance to the typical value that a token keeps for each plan that lacks it."""
PLANS = 11
"""Plans whose features are kept; the longest interval of SpecPrune-VLA."""


class ScoreMemory:
    """Numbers and feature vectors of each visual token, by its index in the frame."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.attention = torch.zeros(1, 0)
        """Attention of the instruction by observed layer, [layers, V], NaN where unknown."""
        self._features: deque[torch.Tensor] = deque(maxlen=PLANS)

    def fit(self, count: int) -> None:
        """Forget everything if the frame has another number of tokens than before."""
        if self.attention.shape[1] != count:
            self.reset()
            self.attention = torch.full((1, count), float('nan'))

    def similarity(self, features: torch.Tensor, plans: int) -> torch.Tensor:
        """Return the cosine of each token [V, D] with itself ``plans`` ago, [V], NaN if unknown.

        Where fewer plans were made, the first one counts.
        """
        if not self._features or self._features[-1].shape != features.shape:
            return torch.full((len(features),), float('nan'))
        before = self._features[-min(plans, len(self._features))]
        return cosine_similarity(features, before, eps=1e-12)

    def update(self, features: torch.Tensor, scores: torch.Tensor) -> None:
        """Take in features [V, D] and attention [layers, V] of a plan, NaN where not observed."""
        self._features.append(features)
        before = self.attention.to(scores)
        if before.shape != scores.shape:
            before = torch.full_like(scores, float('nan'))
        typical = scores.nanmedian(1, keepdim=True).values
        drifted = typical + (before - typical) * DRIFT
        self.attention = torch.where(scores.isnan(), drifted, scores)
