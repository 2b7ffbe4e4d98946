# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Bins and FAST: round trips, hand-made byte pairs, and what becomes of malformed lines."""

import numpy as np
import pytest
import torch

from efficient_vla.action.tokenizers.bins import BinTokenizer
from efficient_vla.action.tokenizers.fast import FastTokenizer, scales
from efficient_vla.action.tokenizers.univla import cosines
from efficient_vla.training.byte_pairs import fit, limits
from efficient_vla.types import InvalidRecordError

LOW, HIGH = [-1.0, -2.0], [1.0, 2.0]


def motions(count: int, horizon: int = 8) -> torch.Tensor:
    """Return smooth chunks [N, H, 2], one action holding still in half of them."""
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(count, 2, 2, generator=generator) * 0.8
    few[::2, :, 1] = 0.0
    return torch.einsum('ch,nca->nha', cosines(horizon, 2), few)


def test_bins_come_back_to_half_a_bin_row_after_row():
    bins = BinTokenizer(3, LOW, HIGH, bins=10)
    chunk = torch.tensor([[[-0.99, -1.9], [0.05, 0.1], [0.99, 1.9]]])
    (tokens,) = bins.encode(chunk)
    assert tokens == [0, 0, 5, 5, 9, 9]
    back, note = bins.decode(tokens)
    assert note == ''
    assert ((back - chunk[0]).abs() <= torch.tensor([0.1, 0.2]) + 1e-6).all()


def test_values_outside_take_the_outermost_bins():
    bins = BinTokenizer(1, LOW, HIGH, bins=10)
    assert bins.encode(torch.tensor([[[-9.0, 9.0]]])) == [[0, 9]]


def test_a_line_of_bins_has_one_length():
    with pytest.raises(ValueError, match='3 tokens; expected 4'):
        BinTokenizer(2, LOW, HIGH).decode([1, 2, 3])


def by_hand(merges: list[list[int]], scale: float = 10.0) -> FastTokenizer:
    """Return a tokenizer of chunks [2, 2] with the symbols -3 to 3."""
    return FastTokenizer(2, LOW, HIGH, [scale, scale], 0.0, -3, 7, merges, 5)


def test_fast_merges_pairs_in_the_order_they_were_learned():
    plain, paired = by_hand([]), by_hand([[3, 3], [7, 3]])
    still = torch.zeros(1, 2, 2)
    assert plain.encode(still) == [[3, 3, 3, 3, 7]]
    # 7 means the coefficients 0 0, and 8 means 0 0 0; the end follows them.
    assert paired.encode(still) == [[7, 7, 9]]
    assert paired.meanings[7:] == [[0, 0], [0, 0, 0]]
    assert paired.decode([8, 3, 9])[0].abs().max() < 1e-6


def test_fast_puts_the_lowest_frequency_of_every_action_first():
    fast = by_hand([], scale=2.0)
    constant = torch.tensor([[[0.8, -1.6], [0.8, -1.6]]])
    (tokens,) = fast.encode(constant)
    # 0.8 of the range in two rows: sqrt 2 x 0.8 x 2 rounds to 2.
    assert [token - 3 for token in tokens[:4]] == [2, -2, 0, 0]


def test_fast_comes_back_to_the_rounding_of_its_coefficients():
    chunks = motions(200)
    fast = FastTokenizer(**fit(chunks, LOW, HIGH, [20.0, 20.0], 0.0, 256))
    lines = fast.encode(chunks)
    for chunk, line in zip(chunks, lines, strict=True):
        back, note = fast.decode(line)
        assert note == ''
        # Sixteen coefficients, each half a step off at most, under an orthonormal transform.
        off = (back - chunk) / torch.tensor([1.0, 2.0])
        assert off.norm() <= 0.5 / 20 * 16**0.5 + 1e-4
    assert fast.length == max(len(line) for line in lines)
    assert sum(len(line) for line in lines) < 0.5 * 200 * 17


def test_more_byte_pairs_make_shorter_lines_of_the_same_chunks():
    chunks = motions(100)
    shapes = [fit(chunks, LOW, HIGH, [20.0, 20.0], 0.0, size) for size in (1, 100, 300)]
    made = [FastTokenizer(**shape) for shape in shapes]
    counts = [sum(len(line) for line in fast.encode(chunks)) for fast in made]
    assert counts[0] == 100 * 17
    assert counts[0] > counts[1] > counts[2]
    decoded = [fast.decode(fast.encode(chunks[:1])[0])[0] for fast in made]
    assert torch.equal(decoded[0], decoded[2])


def test_falloff_rounds_high_frequencies_coarser():
    factors = scales(4, [10.0, 2.0], 0.5)
    assert factors[:, 0].tolist() == pytest.approx([10.0, 10 / 1.5, 5.0, 4.0])
    assert factors[0].tolist() == [10.0, 2.0]
    assert scales(4, [10.0], 0.0).flatten().tolist() == [10.0] * 4


def test_missing_coefficients_are_high_frequencies_and_said():
    fast = by_hand([], scale=2.0)
    whole, _ = fast.decode([5, 1, 3, 3, 7])
    short, note = fast.decode([5, 1, 7])
    assert torch.equal(short, whole)
    assert short.abs().min() > 0.5
    assert note == '2 of 4 coefficients were missing: taken as 0'


def test_coefficients_too_many_and_a_missing_end_are_said():
    fast = by_hand([], scale=2.0)
    long, note = fast.decode([5, 1, 3, 3, 6])
    assert torch.equal(long, fast.decode([5, 1, 3, 3, 7])[0])
    assert note == '1 coefficients too many: left out; the end was missing'


def test_actions_out_of_all_range_are_limited_and_said():
    fast = by_hand([], scale=2.0)
    row = torch.full((1, 2, 2), 40.0) * torch.tensor([1.0, -2.0])
    (tokens,) = fast.encode(row)
    wild = [max(range(fast.end), key=lambda token: fast.meanings[token][0])] * 2 + tokens[2:]
    fast.reach = 0.5
    chunk, note = fast.decode(wild)
    assert 'out of range: limited' in note
    assert chunk.abs().max() <= 0.5 * 2.0


def test_a_line_without_the_lowest_frequency_makes_no_chunk():
    fast = by_hand([])
    for line in ([7], [3, 7], [7, 3, 3, 3, 3]):
        with pytest.raises(InvalidRecordError, match='at least one for each of 2 actions'):
            fast.decode(line)


def test_coefficients_never_seen_are_taken_as_the_outermost():
    fast = by_hand([])
    (tokens,) = fast.encode(torch.full((1, 2, 2), 50.0))
    assert tokens[:2] == [6, 6]


def test_a_range_too_narrow_for_its_symbols_is_refused():
    with pytest.raises(ValueError, match='Take a smaller scale'):
        fit(motions(4), [0.0, 0.0], [1e-4, 1.0], [100.0, 100.0], 0.0, 64)


def test_limits_are_quantiles_and_never_empty():
    chunks = np.zeros((100, 5, 2), np.float32)
    chunks[..., 0] = np.linspace(-1, 1, 100)[:, None]
    low, high = limits(chunks)
    assert low == pytest.approx([-0.98, 0.0], abs=0.01)
    assert high == pytest.approx([0.98, 1e-3], abs=0.01)
