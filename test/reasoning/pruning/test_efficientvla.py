# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""EfficientVLA keeps the key set, then relevant, then diverse tokens."""

import math

import pytest
import torch

from efficient_vla.reasoning.pruning import budget, efficientvla

RELEVANCE = [[0.30, 0.01, 0.20, 0.10, 0.02, 0.03], [0.10, 0.02, 0.16, 0.00, 0.01, 0.02]]
"""Sums .40 .03 .36 .10 .03 .05: tokens 0 and 2 lead, then 3, 5, 1 and 4."""


def keep(view):
    return budget.choose(efficientvla.score(view), view).tolist()


def test_the_rest_of_the_budget_is_split_between_relevance_and_diversity(make_view):
    # Token 4 is as irrelevant as 1, but points away from both key tokens.
    tokens = [[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [1.0, 1.0], [-1.0, -1.0], [0.1, 3.0]]
    settings = {'efficientvla.key': 2, 'efficientvla.alpha': 0.5, 'min_tokens': 1}
    view = make_view(4, tokens=tokens, attention=RELEVANCE, settings=settings)
    assert keep(view) == [0, 2, 3, 4]


def test_diversity_is_the_distance_to_the_key_set_only_and_not_greedy(make_view):
    # 3 and 4 are twins far from the key: a greedy spread would take only one of them.
    tokens = [[1.0, 0.0], [0.2, 1.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.0], [0.5, 1.0]]
    settings = {'efficientvla.key': 1, 'efficientvla.alpha': 0.0, 'min_tokens': 1}
    view = make_view(3, tokens=tokens, attention=RELEVANCE, settings=settings)
    assert keep(view) == [0, 3, 4]


def test_the_share_of_relevance_is_rounded_down(make_view):
    tokens = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]
    settings = {'efficientvla.key': 2, 'efficientvla.alpha': 0.5, 'min_tokens': 1}
    view = make_view(3, tokens=tokens, attention=RELEVANCE, settings=settings)
    assert keep(view) == [0, 2, 4]  # floor(0.5 * 1) is 0 by relevance, 1 by diversity


def test_a_budget_below_the_key_set_keeps_the_most_relevant(make_view):
    view = make_view(1, attention=RELEVANCE, settings={'min_tokens': 1})
    assert keep(view) == [0]


@pytest.mark.parametrize('alpha', [0.0, 0.3, 1.0])
def test_random_cases_agree_with_a_plain_computation(make_view, alpha):
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randn(24, 5, generator=generator)
    attention = torch.rand(3, 24, generator=generator)
    settings = {'efficientvla.key': 4, 'efficientvla.alpha': alpha}
    view = make_view(11, (4, 6), tokens=tokens, attention=attention, settings=settings)

    relevance = [sum(row) for row in zip(*attention.tolist(), strict=True)]
    ranked = sorted(range(24), key=lambda i: -relevance[i])
    chosen = ranked[: 4 + math.floor(alpha * 7)]

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    rows = tokens.tolist()
    distance = {i: 1 - max(cosine(rows[i], rows[k]) for k in ranked[:4]) for i in range(24)}
    rest = sorted(set(range(24)) - set(chosen), key=lambda i: -distance[i])
    assert keep(view) == sorted(chosen + rest[: 11 - len(chosen)])
