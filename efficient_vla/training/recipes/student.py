# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Distil a policy into a student of half of its layers.

Those stay that turn their input most (``similarity_skip``), and learn by updates of low rank. The
teacher is the policy with all layers. Of three losses one is that of the demonstrated action; the
others pull the student's plan to the teacher's (``cognition``, arXiv 2503.20384) and its chunk to
the teacher's chunk. Most batches show a random part of the visual tokens.
"""

import numpy as np
import torch
from torch.nn import functional as F

from efficient_vla.errors import UsageError
from efficient_vla.reasoning.depth.mole import RouterRoute
from efficient_vla.reasoning.depth.similarity_skip import measured, most_important
from efficient_vla.reasoning.depth.student import Student
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.frozen import Frozen, routed
from efficient_vla.training.losses import action_loss, cognition
from efficient_vla.training.recipes.recipe import Recipe, shown_part

SHARE = 0.5
"""Share of the layers that stay."""
FRAMES = 32
"""Frames on which the importance of the layers is measured."""


class StudentRecipe(Recipe):
    """Updates of the layers that stay."""

    bare = True

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Choose the layers; raises ``UsageError`` where none can go, or nothing could learn."""
        super().__init__(frozen)
        layers = frozen.trunk.parts.layers
        depth = len(layers)
        count = max(2, round(SHARE * depth))
        if count >= depth or not rank:
            raise UsageError(
                f'a student keeps {count} of {depth} layers and learns by updates of rank {rank}; '
                'expected a deeper decoder and a rank of at least 1. Choose another policy, or '
                'set --rank.'
            )
        kept = most_important(self._importance(features), count)
        self.shape = {'depth': depth, 'layers': list(kept)}
        self.module = Student(**self.shape)
        self.train_with_updates({'module': self.module}, rank, [layers[n] for n in kept])
        self._route = RouterRoute(kept, depth)

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the losses of the student's plan of all visual tokens, or of a random part."""
        latents = self._plan(samples, shown_part(samples.tokens.shape[1]))
        chunk = self.frozen.single(latents, samples.state)
        taught = self.frozen.single(samples.latents, samples.state)
        return {
            'single': action_loss(chunk, samples.chunk, samples.fit),
            'cognition': cognition(latents, samples.latents),
            'actions': F.smooth_l1_loss(chunk, taught, beta=0.05),
        }

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the losses beside those of the teacher, and how far the chunks are apart."""
        latents = self._plan(samples, torch.arange(samples.tokens.shape[1]))
        chunk, taught = (
            self.frozen.single(plan, samples.state) for plan in (latents, samples.latents)
        )
        spread = samples.latents.var(0).mean()
        gap = (chunk - taught).flatten(1).norm(dim=1) / taught.flatten(1).norm(dim=1)
        return {
            'single': action_loss(chunk, samples.chunk, samples.fit).item(),
            'dense_single': action_loss(taught, samples.chunk, samples.fit).item(),
            'latents': (F.mse_loss(latents, samples.latents) / spread).item(),
            'relative_gap': gap.mean().item(),
        }

    def _importance(self, features: Features) -> torch.Tensor:
        """Return the importance of each layer, on frames from all over the data."""
        frozen = self.frozen
        places = np.unique(np.linspace(0, len(features) - 1, FRAMES).astype(int))
        text, mask = frozen.text([features.sentences[place] for place in places])
        tokens = features.tokens[places].to(frozen.device).float()
        with torch.no_grad(), measured(frozen.trunk.parts.layers) as meter:
            frozen.dense_plan(tokens, text, mask)
        return meter.importance()

    def _plan(self, samples: Samples, shown: torch.Tensor) -> torch.Tensor:
        """Return the student's plan [B, Q, D] of the visual tokens ``shown``, int64 [n]."""
        frozen = self.frozen
        shown = shown.to(frozen.device)
        places = shown.expand(len(samples.tokens), -1)
        with routed(frozen.trunk, self._route):
            latents = frozen.trunk(
                samples.tokens[:, shown], places, samples.text, samples.text_mask, frozen.tokens
            )[0]
        return latents.float()
