# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""LightVLA: every query that tokens make of the text votes for one token (arXiv 2509.12594).

Tokens P and text T, both RMS-normalized without weights, give one query a token by attention with
q = P and k = v = T; a query votes for the token with the highest scaled product. Tokens with a vote
stay, so that their number follows from the image. There are no parameters: without training the
trunk by the recipe ``lightvla`` the votes are a heuristic. The authors let proprioception and
action places take part in T; here it is the instruction.
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
    tokens, text = view.tokens, normalized(words)
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


def normalized(features: torch.Tensor) -> torch.Tensor:
    """Return features with an RMS of 1, without weights."""
    return F.rms_norm(features, features.shape[-1:], eps=1e-6)
