# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Each selector against a case computed by hand."""

import torch

from efficient_vla.reasoning.pruning import SELECTORS

SCORES = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15, 0.0])


def choose(method: str, count: int) -> list[int]:
    return SELECTORS[method](SCORES, count, torch.Generator().manual_seed(3)).tolist()


def test_fastv_keeps_the_highest_scores_in_order_of_position():
    assert choose('fastv', 3) == [1, 3, 4]
    assert choose('fastv', 1) == [1]


def test_uniform_spreads_over_the_sequence():
    assert choose('uniform', 3) == [1, 3, 5]
    assert choose('uniform', 2) == [1, 4]
    assert choose('uniform', 6) == [0, 1, 2, 3, 4, 5]


def test_random_draws_without_replacement_and_repeats_with_its_seed():
    first = choose('random', 4)
    assert first == choose('random', 4)
    assert first == sorted(set(first))
    assert len(first) == 4


def test_random_differs_between_draws():
    generator = torch.Generator().manual_seed(0)
    draws = {tuple(SELECTORS['random'](SCORES, 3, generator).tolist()) for _ in range(20)}
    assert len(draws) > 1
