# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What an action expert is given beside its rows, by hand: positions, who sees whom, time."""

import math

import torch
from prefix_policies import loaded

from efficient_vla.action.heads.expert import Turn, sight, turn_of
from efficient_vla.action.heads.expert_ends import moment_of
from efficient_vla.attention import PrefixCache

CPU = torch.device('cpu')


def test_halves_of_a_head_turn_by_position_times_a_falling_rate():
    turn = turn_of(7, 2, 4, 100.0, CPU, torch.float32)
    given = torch.tensor([1.0, 2.0, 3.0, 4.0])
    found = turn(given.expand(1, 1, 2, 4))[0, 0]
    for row, place in enumerate((7, 8)):
        for pair, rate in enumerate((1.0, 0.1)):
            turned = complex(given[pair], given[pair + 2]) * complex(
                math.cos(place * rate), math.sin(place * rate)
            )
            assert math.isclose(found[row, pair], turned.real, abs_tol=1e-5)
            assert math.isclose(found[row, pair + 2], turned.imag, abs_tol=1e-5)


def test_rows_of_a_chunk_count_on_behind_tokens_that_were_dropped():
    expert = loaded('smolvla').actor.generator.expert
    cache, _, _ = expert.example(5, torch.Generator().manual_seed(0))
    seen = expert.prepare(PrefixCache(cache.keys, cache.values, 20))
    for one in seen:
        for found, first in ((one.ahead, 20), (one.own, 0)):
            rows = found.cos.shape[2]
            expected = turn_of(first, rows, expert.shape.head, 1e4, CPU, torch.float32)
            assert isinstance(found, Turn)
            assert torch.equal(found.cos, expected.cos)
            assert torch.equal(found.sin, expected.sin)


def test_all_see_the_prefix_and_a_row_those_before_it_or_all_but_that_of_the_state():
    causal, whole = (sight(3, 2, 2, one, CPU).int().tolist() for one in (True, False))
    assert causal == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]] * 2
    assert whole == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]] * 2


def test_a_time_is_sines_then_cosines_of_periods_that_grow_evenly_in_proportion():
    found = moment_of(0.25, 6, 0.5, 2.0)
    angles = [2 * math.pi * 0.25 / period for period in (0.5, 1.0, 2.0)]
    expected = [*map(math.sin, angles), *map(math.cos, angles)]
    torch.testing.assert_close(found, torch.tensor([expected]), atol=1e-6, rtol=0)
