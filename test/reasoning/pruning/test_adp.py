# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""ADP ranks tokens by the mean product of the layer's queries and keys."""

import math

import pytest
import torch

from efficient_vla.reasoning.pruning import adp, budget


def projections(heads, key_heads, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(5, heads * width, generator=generator)
    k = torch.randn(5, key_heads * width, generator=generator)
    return lambda queries, keys: (
        (queries @ q).unflatten(1, (heads, width)),
        (keys @ k).unflatten(1, (key_heads, width)),
    )


@pytest.mark.parametrize(('heads', 'key_heads'), [(4, 4), (4, 2), (6, 2), (4, 1)])
def test_every_query_head_meets_the_key_head_of_its_group(make_view, heads, key_heads):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(12, 5, generator=generator)
    text = torch.randn(3, 5, generator=generator)
    project = projections(heads, key_heads, 4)
    view = make_view(5, (3, 4), tokens=tokens, text=text, project=project)
    q, k = (part.tolist() for part in project(text, tokens))
    group = heads // key_heads
    expected = [
        sum(
            q[t][h][x] * k[v][h // group][x] / math.sqrt(4)
            for t in range(3)
            for h in range(heads)
            for x in range(4)
        )
        / (3 * heads)
        for v in range(12)
    ]
    torch.testing.assert_close(adp.score(view), torch.tensor(expected), atol=1e-4, rtol=1e-4)
    best = sorted(range(12), key=lambda i: -expected[i])[:5]
    view.settings = make_view(5, settings={'min_tokens': 1}).settings
    assert budget.choose(adp.score(view), view).tolist() == sorted(best)


def test_grouped_heads_are_not_taken_in_turn(make_view):
    # Query heads 0 and 1 belong to key head 0; taking heads modulo 2 would keep token 1.
    queries = torch.tensor([[[1.0], [2.0], [0.0], [0.5]]])  # [1, 4, 1]
    keys = torch.tensor([[[1.0], [0.0]], [[0.0], [1.1]]])  # [2, 2, 1]
    view = make_view(1, (1, 2), project=lambda *_: (queries, keys), settings={'min_tokens': 1})
    torch.testing.assert_close(adp.score(view), torch.tensor([3 / 4, 1.1 * 0.5 / 4]))
    assert budget.choose(adp.score(view), view).tolist() == [0]


def test_products_are_not_passed_through_a_softmax(make_view):
    # Text 0 likes token 0 very much, text 1 dislikes it as much: only a softmax keeps it.
    queries = torch.tensor([[[10.0, 0.0]], [[-10.0, 1.0]]])
    keys = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    view = make_view(1, (1, 2), project=lambda *_: (queries, keys), settings={'min_tokens': 1})
    assert budget.choose(adp.score(view), view).tolist() == [1]
