# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Resamplers give the tokens that their formulas say, wherever the image's tokens stand."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from efficient_vla.reasoning.resampling.layers import output_positions, places, sincos
from efficient_vla.reasoning.resampling.otter import TEXT_TOKENS, Otter
from efficient_vla.reasoning.resampling.perceiver import Perceiver
from efficient_vla.reasoning.resampling.univla import UniVla

WIDTH = 24


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=['perceiver', 'otter'])
def resampler(request: pytest.FixtureRequest) -> nn.Module:
    if request.param == 'perceiver':
        return Perceiver(WIDTH, tokens=5, heads=2).eval()
    return Otter(WIDTH, tokens=5, heads=2, similarity_heads=2).eval()


def grid(rows: int, columns: int, cameras: int = 1) -> torch.Tensor:
    token = torch.arange(cameras * rows * columns)
    inside = token % (rows * columns)
    camera = token // (rows * columns)
    return places(camera, inside // columns, inside % columns, (rows, columns))


def words(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(1, length, WIDTH), torch.ones(1, length, dtype=torch.bool)


@pytest.mark.parametrize(('rows', 'cameras'), [(3, 1), (4, 2)])
def test_any_number_of_tokens_becomes_the_fixed_number(resampler, rows, cameras):
    where = grid(rows, rows, cameras)
    tokens = resampler(torch.randn(1, len(where), WIDTH), where, *words(6))
    assert tokens.shape == (1, 5, WIDTH)
    assert tokens.isfinite().all()


def test_tokens_are_known_by_their_place_and_not_by_their_order(resampler):
    where, visual, text = grid(3, 4), torch.randn(1, 12, WIDTH), words(4)
    order = torch.randperm(12)
    first = resampler(visual, where, *text)
    assert torch.allclose(first, resampler(visual[:, order], where[order], *text), atol=1e-5)
    assert not torch.allclose(first, resampler(visual[:, order], where, *text), atol=1e-3)


def test_otter_pools_by_cosine_similarity_with_a_temperature():
    otter = Otter(WIDTH, tokens=3, heads=2, similarity_heads=2).eval()
    where, visual = grid(2, 3), torch.randn(1, 6, WIDTH)
    text, mask = words(2)
    order = torch.arange(2)[:, None] / TEXT_TOKENS
    said = otter.context(text + sincos(order, WIDTH))[0]
    half = WIDTH // 2
    expected = torch.zeros(2, WIDTH)
    for head in range(2):
        part = slice(head * half, (head + 1) * half)
        for token in range(2):
            t = (otter.text.weight @ said[token])[part]
            weights = []
            for patch in range(6):
                p = (otter.patch.weight @ visual[0, patch])[part]
                cosine = (t @ p) / (t.norm() * p.norm())
                weights.append(math.exp(cosine.item() / 0.07))
            for patch in range(6):
                value = otter.value.weight @ visual[0, patch] + sincos(where, WIDTH)[patch]
                expected[token, part] += weights[patch] / sum(weights) * value[part]
    found = otter.pool(visual, where, text, mask)[0]
    assert torch.allclose(found, expected, atol=1e-5)


def test_otter_ignores_padding_and_what_follows_the_last_word_it_reads():
    otter = Otter(WIDTH, tokens=3, heads=2, similarity_heads=2).eval()
    where, visual = grid(2, 3), torch.randn(1, 6, WIDTH)
    text, mask = words(TEXT_TOKENS + 4)
    long = otter(visual, where, text, mask)
    assert torch.equal(long, otter(visual, where, text[:, :TEXT_TOKENS], mask[:, :TEXT_TOKENS]))
    mask[:, 5:] = False
    padded = otter(visual, where, text, mask)
    assert torch.allclose(padded, otter(visual, where, text[:, :5], mask[:, :5]), atol=1e-5)
    assert not torch.allclose(padded, long, atol=1e-3)


def test_only_otter_listens_to_the_instruction():
    where, visual = grid(2, 3), torch.randn(1, 6, WIDTH)
    otter = Otter(WIDTH, tokens=3, heads=2, similarity_heads=2).eval()
    perceiver = Perceiver(WIDTH, tokens=3, heads=2)
    one, other = words(4), words(4)
    assert not torch.allclose(otter(visual, where, *one), otter(visual, where, *other), atol=1e-4)
    assert torch.equal(perceiver(visual, where, *one), perceiver(visual, where, *other))


def test_a_code_is_the_nearest_row_once_the_mean_of_the_place_is_off():
    module = UniVla(2, places=3, codes=3)
    module.codebook.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]))
    module.means.copy_(torch.tensor([[5.0, 5.0], [0.0, 0.0], [-1.0, 0.0]]))
    visual = torch.tensor([[[5.9, 5.1], [0.1, 1.9], [-1.2, 0.1]]])
    assert module.codes(visual).tolist() == [[1, 2, 0]]


def test_a_frame_made_of_code_rows_passes_unchanged():
    module = UniVla(WIDTH, places=6, codes=8)
    module.codebook.copy_(torch.randn(8, WIDTH))
    module.means.copy_(torch.randn(6, WIDTH))
    with torch.no_grad():
        module.vocabulary.copy_(module.codebook)
        module.place.copy_(module.means)
    codes = torch.tensor([[3, 1, 4, 1, 5, 2]])
    visual = module.means + module.codebook[codes]
    assert torch.equal(module.codes(visual), codes)
    assert torch.allclose(module(visual, grid(2, 3), *words(4)), visual, atol=1e-6)
    assert torch.equal(module.embed(module.codes(visual + 1e-4)), module.embed(codes))


def test_fixed_lengths_spread_over_the_image_and_full_frames_keep_their_positions():
    assert output_positions(144, 144).tolist() == list(range(144))
    assert output_positions(4, 144).tolist() == [18, 54, 90, 126]
    assert output_positions(3, 2).max() < 2


def test_places_of_neighbours_differ_more_than_they_do_from_themselves():
    where = sincos(grid(12, 12), 192)
    likeness = functional.cosine_similarity(where[:, None], where, dim=-1)
    assert (likeness.argmax(1) == torch.arange(144)).all()
    assert likeness.fill_diagonal_(-1).max() < 0.99
