# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train a resampler and the decoder's low-rank updates that read its tokens."""

from typing import Any

import torch
from torch import nn

from efficient_vla.addons import LORA, MODULE
from efficient_vla.reasoning.resampling.layers import places
from efficient_vla.reasoning.resampling.otter import Otter
from efficient_vla.reasoning.resampling.perceiver import Perceiver
from efficient_vla.reasoning.resampling.resamplers import output_positions
from efficient_vla.training import lora
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.losses import plan_losses, plan_measures


class ResamplerRecipe:
    """Module and updates together learn to give the dense plan and the demonstrated actions."""

    def __init__(
        self, frozen: Frozen, kind: type[nn.Module], shape: dict[str, Any], rank: int
    ) -> None:
        """Make the module of class ``kind`` and attach updates to the frozen trunk."""
        self.frozen, self.shape = frozen, shape
        self.module = kind(**shape).to(frozen.device)
        self.updates = lora.attach(frozen.trunk.decoder, rank) if rank else []
        self.trained = nn.ModuleDict({'module': self.module})
        self.trained.register_module('updates', nn.ParameterList(self.updates))
        self.trained.to(frozen.device)
        self.places = grid_places(frozen)

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
        del progress
        return plan_losses(self.frozen, self.plan(samples), samples)

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the losses of held-out samples."""
        return plan_measures(self.frozen, self.plan(samples), samples)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return module and updates."""
        named = {MODULE + name: tensor for name, tensor in self.module.state_dict().items()}
        return named | {LORA + n: t for n, t in lora.updates(self.frozen.trunk.decoder)}


class OtterRecipe(ResamplerRecipe):
    """OTTER's text-guided pooling."""

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Make a module of the default size."""
        del features
        super().__init__(frozen, Otter, {'width': frozen.width, 'tokens': 16}, rank)


class PerceiverRecipe(ResamplerRecipe):
    """The perceiver resampler."""

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Make a module of the default size."""
        del features
        shape = {'width': frozen.width, 'tokens': 32, 'heads': frozen.width // 32}
        super().__init__(frozen, Perceiver, shape, rank)


def grid_places(frozen: Frozen) -> torch.Tensor:
    """Return the places [V, 3] of the policy's tokens, one square grid a camera."""
    side = round(frozen.card.tokens_per_camera**0.5)
    token = torch.arange(frozen.tokens, device=frozen.device)
    inside = token % frozen.card.tokens_per_camera
    camera = token // frozen.card.tokens_per_camera
    return places(camera, inside // side, inside % side, (side, side))
