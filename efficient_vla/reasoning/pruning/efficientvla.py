# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""EfficientVLA: relevant tokens first, then diverse ones (arXiv 2506.10100, section 3.3).

A few key tokens are those the instruction attends to most. A share ``alpha`` of what remains of the
budget goes on by relevance, the rest to tokens least like any key token: one distance to the key
set, not a greedy spread. The paper writes the attention from visual to context tokens, which is
zero under a causal mask with the image first; here the instruction asks and the visual tokens
answer. Scaling the relevance to 0..1, as the paper does, changes no order and is left out.
"""

import torch
from torch.nn.functional import normalize

from efficient_vla.reasoning.pruning.budget import in_turn
from efficient_vla.reasoning.pruning.view import View


def score(view: View) -> torch.Tensor:
    """Return scores in the order key, relevant, diverse, [n]."""
    settings = view.settings.efficientvla
    order = view.attention[-1].sum(0).argsort(descending=True, stable=True)
    key = order[: min(settings.key, view.count)]
    relevant = order[: len(key) + int(settings.alpha * (view.count - len(key)))]
    direction = normalize(view.tokens)
    likeness = (direction @ direction[key].T).amax(1)
    diverse = likeness.argsort(stable=True)
    return in_turn(len(order), key, relevant, diverse)
