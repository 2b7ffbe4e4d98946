# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""FastDriveVLA ranks tokens by a learned scorer."""

import pytest
import torch

from efficient_vla.reasoning.pruning import budget, fastdrivevla
from efficient_vla.reasoning.pruning.fastdrivevla import ReconPruner


@pytest.fixture
def pruner():
    torch.manual_seed(0)
    return ReconPruner(6, width=8, heads=2).eval()


def test_the_scorer_of_the_policy_decides(make_view):
    tokens = [[0.1, 9.0], [0.7, 0.0], [0.3, 0.0], [0.9, 0.0], [0.2, 0.0], [0.8, 0.0]]
    view = make_view(
        3, tokens=tokens, scorer=lambda tokens: tokens[:, 0], settings={'min_tokens': 1}
    )
    assert budget.choose(fastdrivevla.score(view), view).tolist() == [1, 3, 5]


@torch.inference_mode()
def test_scores_are_products_with_a_query_that_saw_all_tokens(make_view, pruner):
    tokens = torch.randn(12, 6)
    view = make_view(5, (3, 4), tokens=tokens, scorer=pruner, settings={'min_tokens': 1})
    layer = pruner.layer
    hidden = torch.cat([pruner.query[None], pruner.enter(tokens)])
    seen, _ = layer.self_attn(hidden[None], hidden[None], hidden[None])
    hidden = layer.norm1(hidden + seen[0])
    inner = torch.nn.functional.gelu(layer.linear1(hidden))
    hidden = layer.norm2(hidden + layer.linear2(inner))
    weight, bias = pruner.scorer.weight[0], pruner.scorer.bias[0]
    expected = [float((hidden[0] * token * weight).sum() + bias) for token in hidden[1:]]
    torch.testing.assert_close(pruner(tokens), torch.tensor(expected), atol=1e-5, rtol=1e-5)
    best = sorted(range(12), key=lambda i: -expected[i])[:5]
    assert budget.choose(fastdrivevla.score(view), view).tolist() == sorted(best)


def test_a_batch_gives_the_scores_of_its_members(pruner):
    tokens = torch.randn(3, 10, 6)
    batch = pruner(tokens)
    assert batch.shape == (3, 10)
    torch.testing.assert_close(batch[1], pruner(tokens[1]), atol=1e-5, rtol=1e-5)


def test_the_order_of_tokens_moves_the_scores_with_them(pruner):
    tokens, order = torch.randn(10, 6), torch.randperm(10)
    moved = pruner(tokens[order])
    torch.testing.assert_close(moved, pruner(tokens)[order], atol=1e-5, rtol=1e-5)


def test_every_parameter_learns(pruner):
    pruner.train()
    pruner(torch.randn(2, 10, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in pruner.parameters())
    assert pruner.query.grad.abs().sum() > 0
