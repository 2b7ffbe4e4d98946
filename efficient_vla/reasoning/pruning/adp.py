# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""ADP, text-driven stage: products of the text's queries and the tokens' keys (arXiv 2509.22093).

``mean over heads and text of q . k / sqrt(d)`` with the projections of the layer itself, before
rotary embeddings and without a softmax. The released code takes as many key heads as query heads;
here query head h meets key head h // (heads / key heads). The stage that looks at the action is the
gate ``extrema``, shared by all methods.
"""

import torch

from efficient_vla.reasoning.pruning.view import View


def score(view: View) -> torch.Tensor:
    """Return the mean product of each token with the text, [n]."""
    assert view.project is not None
    queries, keys = view.project(view.text, view.tokens)
    heads, width = keys.shape[1:]
    # The mean of products is the product of the mean query; [L, heads, d] -> [key heads, d].
    query = queries.float().unflatten(1, (heads, -1)).mean((0, 2))
    return keys.flatten(1).float() @ query.flatten() / (heads * width**0.5)
