# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train a resampler and the decoder's low-rank updates that read its tokens."""

from typing import Any

import torch
from torch import nn

from efficient_vla.reasoning.resampling.layers import output_positions, places_of
from efficient_vla.reasoning.resampling.otter import Otter
from efficient_vla.reasoning.resampling.perceiver import Perceiver
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.losses import plan_losses, plan_measures
from efficient_vla.training.recipes.recipe import Recipe


class ResamplerRecipe(Recipe):
    """Module and updates together learn to give the dense plan and the demonstrated actions."""

    bare = True

    kind: type[nn.Module]

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        super().__init__(frozen)
        self.shape = self.sizes(frozen.width)
        self.module = self.kind(**self.shape)
        self.train_with_updates({'module': self.module}, rank)
        self.places = places_of(frozen.places, frozen.device)

    def sizes(self, width: int) -> dict[str, Any]:
        """Return the keywords of the module for plans of this width."""
        raise NotImplementedError

    def plan(self, samples: Samples) -> torch.Tensor:
        """Return the plan [B, Q, D] of the resampled tokens."""
        trunk, start = self.frozen.trunk, self.frozen.tokens
        words = trunk.parts.embed(samples.text)
        tokens = self.module(samples.tokens, self.places, words, samples.text_mask)
        positions = output_positions(tokens.shape[1], start).to(tokens.device)
        positions = positions.expand(len(tokens), -1)
        return trunk(tokens, positions, samples.text, samples.text_mask, start)[0]

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the losses of a batch, the same at all times."""
        return plan_losses(self.frozen, self.plan(samples), samples)

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the losses of held-out samples."""
        return plan_measures(self.frozen, self.plan(samples), samples)


class OtterRecipe(ResamplerRecipe):
    """OTTER's text-guided pooling."""

    kind = Otter

    def sizes(self, width: int) -> dict[str, Any]:
        """Return the default ones."""
        return {'width': width, 'tokens': 16}


class PerceiverRecipe(ResamplerRecipe):
    """The perceiver resampler."""

    kind = Perceiver

    def sizes(self, width: int) -> dict[str, Any]:
        """Return the default ones, heads of 32."""
        return {'width': width, 'tokens': 32, 'heads': width // 32}
