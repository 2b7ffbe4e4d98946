# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train a decoder whose weights are -1, 0 and 1 times one number (BitVLA, arXiv 2506.07530).

Each linear layer rounds its weights by their mean size and its inputs to 8 bits a row, as
``quantization.mode`` ternary does; gradients pass as if it did not. The teacher is the policy in
float32 on the same tokens: the student's states behind every layer, its plan and its chunk are
pulled to the teacher's, beside the demonstrated actions. Gains of norms learn too. The paper does
so for its vision tower; here it is the decoder, and tower and heads stay in float32. Most batches
show a random part of the visual tokens, as the policy itself was trained.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.compression import trained_ternary
from efficient_vla.compression.packed import ternary, whole_rows
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.losses import action_loss, cognition
from efficient_vla.training.recipes.recipe import Recipe, shown_part

BITS = 8
"""Of inputs."""


class TernaryLinear(nn.Linear):
    """A linear layer that rounds as ``PackedLinear`` of ``TernaryRows`` does, and can learn."""

    @classmethod
    def of(cls, stock: nn.Linear) -> 'TernaryLinear':
        """Return one with the weights of a stock layer."""
        made = cls(stock.in_features, stock.out_features, stock.bias is not None, device='meta')
        made.weight, made.bias = nn.Parameter(stock.weight.detach().clone()), stock.bias
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., K] to [..., N]; the gradients are those without rounding."""
        with torch.no_grad():
            scale, codes = ternary(self.weight)
            lost = scale[..., None] * codes - self.weight
            whole, size = whole_rows(x, BITS)
            cut = whole * size - x
        return F.linear(x + cut, self.weight + lost, self.bias)


class TernaryRecipe(Recipe):
    """A decoder of ternary weights beside the one that it is made of."""

    bare = True

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Take the weights of the policy to begin with; there are no updates of a ``rank``."""
        super().__init__(frozen)
        self._teacher = copy.deepcopy(frozen.trunk)
        decoder = frozen.trunk.decoder
        self._linear = [n for n, part in decoder.named_modules() if type(part) is nn.Linear]
        for name in self._linear:
            decoder.set_submodule(name, TernaryLinear.of(decoder.get_submodule(name)))
        self._gains = [
            name
            for name, part in decoder.named_modules()
            if isinstance(weight := getattr(part, 'weight', None), nn.Parameter)
            and weight.ndim == 1
        ]
        for name in self._gains:
            decoder.get_submodule(name).requires_grad_(True)
        self.trained = decoder
        self.shape = {'layers': len(self._linear), 'stages': ['reasoner']}

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the losses of all visual tokens, or of a random part."""
        shown = shown_part(samples.tokens.shape[1])
        with torch.no_grad(), _states(self._teacher) as wanted:
            taught = self._plan(self._teacher, samples, shown)
        with _states(self.frozen.trunk) as found:
            latents = self._plan(self.frozen.trunk, samples, shown)
        pairs = zip(found, wanted, strict=True)
        apart = [F.mse_loss(mine, theirs) / theirs.square().mean() for mine, theirs in pairs]
        chunk, like = (self.frozen.single(plan, samples.state) for plan in (latents, taught))
        return {
            'single': action_loss(chunk, samples.chunk, samples.fit),
            'cognition': cognition(latents, taught),
            'actions': F.smooth_l1_loss(chunk, like, beta=0.05),
            'layers': torch.stack(apart).mean(),
        }

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the losses beside those of the teacher, and how far plans and chunks are apart."""
        everything = torch.arange(samples.tokens.shape[1])
        latents = self._plan(self.frozen.trunk, samples, everything)
        chunk, taught = (
            self.frozen.single(plan, samples.state) for plan in (latents, samples.latents)
        )
        plans, chunks = (
            ((one - other).flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)).mean().item()
            for one, other in ((latents, samples.latents), (chunk, taught))
        )
        return {
            'single': action_loss(chunk, samples.chunk, samples.fit).item(),
            'dense_single': action_loss(taught, samples.chunk, samples.fit).item(),
            'plan_gap': plans,
            'chunk_gap': chunks,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return codes, scales and gains by the names of the decoder's modules."""
        made = {}
        for name in self._linear:
            scale, codes = ternary(self.trained.get_submodule(name).weight.detach())
            made[f'reasoner.{name}.{trained_ternary.CODES}'] = trained_ternary.packed(codes)
            made[f'reasoner.{name}.{trained_ternary.SCALE}'] = scale[None]
        for name in self._gains:
            gain = self.trained.get_submodule(name).weight.detach()
            made[f'reasoner.{name}.{trained_ternary.GAIN}'] = gain
        return made

    def _plan(self, trunk: Any, samples: Samples, shown: torch.Tensor) -> torch.Tensor:
        """Return a plan [B, Q, D] of the visual tokens ``shown``, int64 [n]."""
        shown = shown.to(self.frozen.device)
        places = shown.expand(len(samples.tokens), -1)
        latents = trunk(
            samples.tokens[:, shown], places, samples.text, samples.text_mask, self.frozen.tokens
        )[0]
        return latents.float()


@contextmanager
def _states(trunk: Any) -> Iterator[list[torch.Tensor]]:
    """Take down what leaves each layer of a trunk meanwhile, [B, N, D]."""
    found: list[torch.Tensor] = []
    handles = [
        layer.register_forward_hook(lambda _, inputs, made: found.append(made))
        for layer in trunk.parts.layers
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
