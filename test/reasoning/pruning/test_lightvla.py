# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""LightVLA keeps the tokens that some query votes for."""

import numpy as np
import pytest
import torch

from efficient_vla.reasoning.pruning import budget, lightvla
from efficient_vla.training.recipes.lightvla import select_soft


def norm(features):
    return features / np.sqrt((features**2).mean(-1, keepdims=True))


def plain_products(tokens, text):
    """Return query x token products as the paper writes them, one query a token."""
    p, t = norm(tokens), norm(text)
    logits = p @ t.T / np.sqrt(p.shape[1])
    weights = np.exp(logits - logits.max(1, keepdims=True))
    queries = norm(weights / weights.sum(1, keepdims=True) @ t)
    return queries @ p.T / np.sqrt(p.shape[1])


def plain_order(tokens, text):
    """Return the tokens with votes, those with most first, then those with the strongest."""
    products = plain_products(tokens.double().numpy(), text.double().numpy())
    votes: dict[int, list[float]] = {}
    for row in products:
        votes.setdefault(int(row.argmax()), []).append(float(row.max()))
    return sorted(votes, key=lambda token: (-len(votes[token]), -max(votes[token])))


def case(seed, n=24, width=8, length=3):
    generator = torch.Generator().manual_seed(seed)
    scale = 0.2 + torch.rand(n, 1, generator=generator) * 3
    tokens = torch.randn(n, width, generator=generator) * scale
    return tokens, torch.randn(length, width, generator=generator)


@pytest.mark.parametrize('seed', range(8))
def test_votes_are_those_of_the_plain_computation(make_view, seed):
    tokens, text = case(seed)
    view = make_view(20, (4, 6), tokens=tokens, text=text, settings={'min_tokens': 1})
    order = plain_order(tokens, text)
    scores = lightvla.score(view)
    assert scores.isfinite().nonzero()[:, 0].tolist() == sorted(order)
    assert scores.argsort(descending=True)[: len(order)].tolist() == order
    assert budget.choose(scores, view).tolist() == sorted(order)


def test_the_budget_bounds_the_votes_and_equal_votes_go_by_strength(make_view):
    tokens, text = case(1, length=6)
    order = plain_order(tokens, text)
    view = make_view(2, (4, 6), tokens=tokens, text=text, settings={'min_tokens': 1})
    assert len(order) > 2
    assert budget.choose(lightvla.score(view), view).tolist() == sorted(order[:2])


def test_the_length_of_a_token_buys_no_votes(make_view):
    # One word along x: every query is that word, and the longest token points elsewhere.
    tokens = [[0.1, 0.01], [50.0, 60.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 0.0], [2.0, 1.0]]
    view = make_view(4, tokens=tokens, text=[[3.0, 0.0]], settings={'min_tokens': 1})
    assert budget.choose(lightvla.score(view), view).tolist() == [0]


def test_without_noise_the_soft_selection_gives_the_voted_tokens():
    cases = [case(seed) for seed in (0, 1)]
    tokens = torch.stack([tokens for tokens, _ in cases])
    text = torch.stack([text for _, text in cases])
    mask = torch.ones(2, 3, dtype=torch.bool)
    mask[1, 2] = False
    soft = select_soft(tokens, text, mask, 0.0)
    assert soft.shape == tokens.shape
    for index in range(2):
        words = text[index][mask[index]].double().numpy()
        votes = plain_products(tokens[index].double().numpy(), words).argmax(1)
        torch.testing.assert_close(soft[index], tokens[index, votes], atol=1e-5, rtol=0)
        view_votes = set(votes.tolist())
        assert set(plain_order(tokens[index], text[index][mask[index]])) == view_votes


def test_gradients_are_those_of_the_soft_votes():
    tokens, text = case(3, n=6, width=4)
    tokens, text = tokens[None].double(), text[None].double().requires_grad_()
    mask = torch.ones(1, 3, dtype=torch.bool)
    select_soft(tokens, text, mask, 0.0).square().sum().backward()
    assert text.grad.abs().sum() > 0

    def soft_only(words):
        p = torch.nn.functional.rms_norm(tokens, (4,), eps=1e-6)
        t = torch.nn.functional.rms_norm(words, (4,), eps=1e-6)
        queries = torch.softmax(p @ t.transpose(1, 2) / 2, -1) @ t
        queries = torch.nn.functional.rms_norm(queries, (4,), eps=1e-6)
        products = queries @ p.transpose(1, 2) / 2
        return products.softmax(-1) @ tokens, products

    words = text.detach().clone().requires_grad_()
    mixed, products = soft_only(words)
    hard = tokens[0, products[0].argmax(-1)]
    # d/dx of hard(x)^2 with the slope of the soft vote: 2 hard . d soft.
    (2 * hard.detach() * mixed[0]).sum().backward()
    torch.testing.assert_close(text.grad, words.grad)


def test_noise_changes_votes_and_repeats_with_its_generator():
    tokens, text = case(0)
    tokens, text, mask = tokens[None], text[None], torch.ones(1, 3, dtype=torch.bool)

    def draw(noise, seed):
        return select_soft(tokens, text, mask, noise, torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1.0, 1), draw(1.0, 1))
    assert not torch.equal(draw(1.0, 1), draw(1.0, 2))
    assert not torch.allclose(draw(1.0, 1), draw(0.0, 1))
