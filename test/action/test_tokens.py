# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Action words: what a chunk is rounded to, and what the words of a plan stand for."""

import torch

from efficient_vla.action.policies import PolicyShape
from efficient_vla.action.tokenizers.univla import TokenPolicy, cosines


def policy(coefficients: int, bins: int = 64) -> TokenPolicy:
    torch.manual_seed(0)
    made = TokenPolicy(PolicyShape(2, 8, 4, 10, 3), coefficients=coefficients, bins=bins)
    made.low.fill_(-4.0)
    made.high.fill_(4.0)
    return made.eval()


def test_the_transform_is_orthonormal():
    rows = cosines(10, 10)
    assert torch.allclose(rows @ rows.T, torch.eye(10), atol=1e-5)


def test_words_of_all_coefficients_give_the_chunk_back_to_half_a_bin():
    full = policy(coefficients=10)
    chunk = torch.rand(5, 10, 3) * 2 - 1
    back = full.chunk(full.words(chunk))
    half = 0.5 * 8.0 / 64
    # A row sums ten coefficients, each off by half a bin at most, under an orthonormal transform.
    assert (back - chunk).norm(dim=1).max() <= half * 10**0.5
    assert (back - chunk).abs().max() > 0


def test_few_coefficients_keep_slow_motion_and_lose_fast_motion():
    few = policy(coefficients=2, bins=4096)
    slow = torch.ones(1, 10, 3)
    fast = torch.ones(1, 10, 3)
    fast[:, 1::2] = -1.0
    assert torch.allclose(few.chunk(few.words(slow)), slow, atol=1e-2)
    assert (few.chunk(few.words(fast)) - fast).abs().mean() > 0.5


def test_values_outside_of_the_bins_take_the_outermost_words():
    words = policy(coefficients=2).words(torch.full((1, 10, 3), 100.0)).view(2, 3)
    assert words[0].tolist() == [63, 63, 63]
    assert policy(coefficients=2).words(torch.full((1, 10, 3), -100.0))[0, 0] == 0


def test_the_chunk_is_that_of_the_median_words():
    made = policy(coefficients=3)
    latents, state = torch.randn(4, 2, 8), torch.randn(4, 4)
    logits = made.logits(latents, state)
    assert logits.shape == (4, 9, 64)
    words = torch.zeros(4, 9, dtype=torch.int64)
    for row in range(4):
        for place in range(9):
            mass = 0.0
            for word, share in enumerate(logits[row, place].softmax(-1).tolist()):
                mass += share
                if mass >= 0.5:
                    words[row, place] = word
                    break
    assert torch.equal(made(latents, state), made.chunk(words))
    assert made(latents, state).shape == (4, 10, 3)
