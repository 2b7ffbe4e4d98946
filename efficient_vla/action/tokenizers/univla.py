# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Actions as tokens of the decoder's vocabulary, all of a chunk in one parallel pass.

The chunk's cosine transform over time keeps the lowest coefficients of each action, as FAST does
(arXiv 2501.09747), and each coefficient is one of ``bins`` words. UniVLA (arXiv 2506.19850) decodes
FAST's byte pairs one after the other; here every coefficient has a place of its own and no byte
pairs follow, so that one matrix product with the words' rows of the vocabulary names them all. Of
each place's distribution the median word is taken: neighbouring words are neighbouring values.
"""

import math

import torch
from torch import nn

from efficient_vla.action.heads.regression import RegressionHead
from efficient_vla.action.policies import PolicyShape, single_width


def cosines(horizon: int, coefficients: int) -> torch.Tensor:
    """Return the first rows of the orthonormal cosine transform (DCT-II), [coefficients, H]."""
    order = torch.arange(coefficients)[:, None]
    time = torch.arange(horizon) + 0.5
    rows = (order * time * math.pi / horizon).cos() * math.sqrt(2 / horizon)
    rows[0] /= math.sqrt(2)
    return rows


class TokenPolicy(nn.Module):
    """Plan latents and proprioception -> action words -> chunk."""

    needs_image = False

    def __init__(self, shape: PolicyShape, coefficients: int = 6, bins: int = 256) -> None:
        """Make the layers; ``low`` and ``high`` bound the bins and are fitted to data."""
        super().__init__()
        self.sizes = (coefficients, shape.actions)
        count, hidden, thin = coefficients * shape.actions, single_width(shape), 32
        self.layers = RegressionHead(shape.plan + shape.state, hidden, *shape.chunk).layers[:-1]
        self.places = nn.Linear(hidden, count * thin)
        self.widen = nn.Linear(thin, shape.width)
        self.vocabulary = nn.Parameter(torch.randn(bins, shape.width))
        self.low: torch.Tensor
        self.high: torch.Tensor
        self.basis: torch.Tensor
        self.register_buffer('low', torch.zeros(count))
        self.register_buffer('high', torch.ones(count))
        self.register_buffer('basis', cosines(shape.horizon, coefficients), persistent=False)

    def words(self, chunk: torch.Tensor) -> torch.Tensor:
        """Return the words of normalised chunks [B, H, A], int64 [B, coefficients x A]."""
        values = torch.einsum('ch,bha->bca', self.basis, chunk).flatten(1)
        share = (values - self.low) / (self.high - self.low)
        bins = len(self.vocabulary)
        return (share * bins).long().clamp(0, bins - 1)

    def chunk(self, words: torch.Tensor) -> torch.Tensor:
        """Return the chunk [B, H, A] that words stand for, the middle of each bin."""
        share = (words + 0.5) / len(self.vocabulary)
        values = self.low + share * (self.high - self.low)
        return torch.einsum('ch,bca->bha', self.basis, values.unflatten(1, self.sizes))

    def logits(self, latents: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return what each place says of each word, [B, coefficients x A, bins]."""
        hidden = self.layers(torch.cat([latents.flatten(1), state], 1))
        places = self.widen(self.places(hidden).unflatten(1, (len(self.low), -1)))
        return places @ self.vocabulary.T * self.vocabulary.shape[1] ** -0.5

    def forward(self, latents: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Map latents [B, Q, D] and normalised state [B, S] to a normalised chunk [B, H, A]."""
        below = self.logits(latents, state).float().softmax(-1).cumsum(-1) < 0.5
        return self.chunk(below.sum(-1).clamp(max=len(self.vocabulary) - 1))
