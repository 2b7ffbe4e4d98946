# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What earlier frames told of each token: attention of the instruction, and features.

Attention that was computed without a token says nothing about it. A token that was dropped is
therefore unknown, not unimportant: its last known value drifts towards the typical one.
"""

import torch

DRIFT = 0.8
"""Share of its distance to the typical value that a token keeps for each plan that lacks it."""


class ScoreMemory:
    """One number and one feature vector a visual token, by its index in the frame."""

    def __init__(self) -> None:
        """Know nothing."""
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.attention = torch.zeros(0)
        """Attention of the instruction, [V], NaN where never observed."""
        self._features = torch.zeros(0)

    def fit(self, count: int) -> None:
        """Forget everything if the frame has another number of tokens than before."""
        if len(self.attention) != count:
            self.reset()
            self.attention = torch.full((count,), float('nan'))

    def similarity(self, features: torch.Tensor) -> torch.Tensor:
        """Return the cosine of each token [V, D] with itself a plan ago, [V], NaN if unknown."""
        if self._features.shape != features.shape:
            return torch.full((len(features),), float('nan'))
        products = (features * self._features).sum(1)
        lengths = torch.linalg.vector_norm(features, dim=1)
        return products / (lengths * torch.linalg.vector_norm(self._features, dim=1)).clamp(1e-12)

    def update(self, features: torch.Tensor, scores: torch.Tensor | None) -> None:
        """Take in the features [V, D] of a plan and the attention [V], NaN where not observed."""
        self._features = features
        if scores is None:
            return
        seen = ~torch.isnan(scores)
        typical = scores[seen].median() if seen.any() else scores.new_tensor(float('nan'))
        drifted = typical + (self.attention.to(scores) - typical) * DRIFT
        self.attention = torch.where(seen, scores, drifted)
