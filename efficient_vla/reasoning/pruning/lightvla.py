# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""LightVLA: every query that tokens make of the text votes for one token (arXiv 2509.12594).

Tokens P and text T, both RMS-normalized without weights, give one query a token by attention with
q = P and k = v = T; a query votes for the token with the highest scaled product. Tokens with a vote
stay, so that their number follows from the image. There are no parameters: without training the
trunk with ``select_soft`` the votes are a heuristic. The authors let proprioception and action
places take part in T; here it is the instruction.
"""

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.reasoning.pruning.budget import in_turn
from efficient_vla.reasoning.pruning.view import View


class TextSide(nn.Module):
    """What is trained of the vote: a map of the instruction, and learned rows beside it.

    The rows stand for the action places that the authors' T holds, and start as the policy's action
    queries do; the map starts as the identity. Tokens and decoder stay as they are.
    """

    def __init__(self, width: int, extra: int) -> None:
        """Make an identity and ``extra`` rows of zeros."""
        super().__init__()
        self.map = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.map.weight)
        self.extra = nn.Parameter(torch.zeros(extra, width))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Map [..., L, D] to [..., L + extra, D]."""
        rows = self.extra.to(text.dtype).expand(*text.shape[:-2], -1, -1)
        return torch.cat([self.map(text), rows], -2)


def score(view: View) -> torch.Tensor:
    """Return scores by votes, equal ones by the strongest vote, [n]; ``-inf`` without a vote."""
    words = view.text if view.scorer is None else view.scorer(view.text)
    tokens, text = view.tokens, _normalized(words)
    width = tokens.shape[1]
    length = torch.linalg.vector_norm(tokens, dim=1) * width**-0.5
    products = text @ tokens.T / length.clamp(min=1e-6) * width**-0.5  # [L, n]
    weights = products.softmax(0).T  # [n, L]
    # The queries are weights @ text, so their products with the tokens are those of the text mixed,
    # [n, L] @ [L, n] in place of [n, D] @ [D, n]. Only the strength of a vote needs their length.
    strength, votes = (weights @ products).max(1)
    norm = (weights @ (text @ text.T) * weights).sum(1).clamp(min=0).sqrt() * width**-0.5
    total = len(tokens)
    strength = strength / norm.clamp(min=1e-6)
    strongest = torch.full_like(strength, -torch.inf)
    strongest.scatter_reduce_(0, votes, strength, 'amax')
    counts = votes.bincount(minlength=total)
    order = strongest.argsort(descending=True, stable=True)
    order = order[counts[order].argsort(descending=True, stable=True)]
    return in_turn(total, order[counts[order] > 0])


def select_soft(
    tokens: torch.Tensor,
    text: torch.Tensor,
    mask: torch.Tensor,
    noise: float,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Return what each query votes for, [B, n, D], with gradients as if the vote were soft.

    ``tokens`` [B, n, D], ``text`` [B, L, D], ``mask`` bool [B, L] marks real text. The length stays
    n, with duplicates. ``noise`` scales uniform noise on the products; training lets it fall from
    1 to 0.
    """
    patches, words = _normalized(tokens), _normalized(text)
    queries = F.scaled_dot_product_attention(patches, words, words, attn_mask=mask[:, None])
    products = _normalized(queries) @ patches.transpose(1, 2) * tokens.shape[2] ** -0.5
    if noise:
        uniform = torch.rand(products.shape, generator=generator)
        products = products + noise * uniform.to(products)
    soft = products.softmax(-1)
    hard = torch.zeros_like(soft).scatter_(-1, products.argmax(-1, keepdim=True), 1.0)
    return (hard + soft - soft.detach()) @ tokens


def _normalized(features: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(features, features.shape[-1:], eps=1e-6)
