# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure which heads and channels matter, take the others out, and let what stays recover.

The importance is that of the loss of the demonstrated actions. Then the decoder is narrow, and
updates of low rank (LoRA) learn the dense plan and the actions; without them, published results
collapse.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch

from efficient_vla.reasoning.width import WidthSettings
from efficient_vla.reasoning.width.structured import measured, narrow, sizes
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.losses import action_loss, plan_losses, plan_measures
from efficient_vla.training.recipes.recipe import Recipe

RANK = 4
"""Largest rank of the updates, so that the add-on stays small."""
BATCH, FRAMES = 16, 512
"""Frames a backward pass, and in all, by which the importance is measured."""


class StructuredRecipe(Recipe):
    """Importance, measured once, and updates of the narrow decoder."""

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Measure, and make the decoder as narrow as ``WidthSettings`` says."""
        super().__init__(frozen)
        decoder = frozen.trunk.decoder
        layers, groups, channels = sizes(decoder)
        with measured(decoder) as saliency:
            for samples in _batches(features):
                self._learn_from(samples)
        settings = WidthSettings()
        saliency.kept = settings.counts(groups, channels)
        self.shape = {
            'layers': layers,
            'groups': groups,
            'channels': channels,
            'kept': list(saliency.kept),
        }
        scores = saliency.heads.numpy().tobytes() + saliency.channels.numpy().tobytes()
        self.basis = {'importance': hashlib.sha256(scores).hexdigest()[:12]}
        narrow(decoder, settings, saliency)
        self.train_with_updates({'module': saliency}, min(rank, RANK))
        self.module = saliency

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the losses of the plan of the narrow decoder."""
        return plan_losses(self.frozen, self._plan(samples), samples)

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the same beside those of the dense plan."""
        return plan_measures(self.frozen, self._plan(samples), samples)

    def _plan(self, samples: Samples) -> torch.Tensor:
        return self.frozen.dense_plan(samples.tokens, samples.text, samples.text_mask)

    def _learn_from(self, samples: Samples) -> None:
        samples.tokens.requires_grad_(True)
        chunk = self.frozen.single(self._plan(samples).float(), samples.state)
        action_loss(chunk, samples.chunk, samples.fit).backward()


def _batches(features: Features) -> Iterator[Samples]:
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(features))[:FRAMES]
    for part in np.array_split(chosen, -(-len(chosen) // BATCH)):
        yield features.samples(part, rng, False)
