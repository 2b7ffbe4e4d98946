# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the head flow learns to be given: rows of another way, and only where something moves."""

import pytest
import torch

from efficient_vla.training.recipes import heads
from efficient_vla.training.recipes.heads import MAX_PREFIX, RETURN_ROWS, disturbed

HORIZON = 40
STD = torch.tensor([1.0, 1.5, 2.0, 1.0])


@pytest.fixture
def chunks():
    torch.manual_seed(0)
    return torch.randn(6, HORIZON, 4)


def first_rows(*lengths):
    return torch.arange(HORIZON) < torch.tensor(lengths)[:, None]


def test_the_path_comes_back_to_the_demonstrated_one(chunks):
    lengths = (1, 5, 8, 12, 16, MAX_PREFIX)
    found = disturbed(chunks, first_rows(*lengths), STD)
    apart = (found - chunks)[..., :3].cumsum(1).abs()
    for index, length in enumerate(lengths):
        back = min(length + RETURN_ROWS, HORIZON)
        assert apart[index, back - 1 :].max() < 1e-4
        # All the way back in equal parts.
        rest = (found - chunks)[index, length:back, :3]
        assert torch.allclose(rest, rest[:1].expand_as(rest), atol=1e-6)
        assert apart[index, length - 1].max() > 1e-3


def test_given_rows_are_faster_or_slower_and_off_by_one_velocity(chunks, monkeypatch):
    monkeypatch.setattr(heads, 'PREFIX_SPREAD', 0.0)
    found = disturbed(chunks, first_rows(8, 8, 8, 8, 8, 8), STD)
    factors = found[:, :8, :3] / chunks[:, :8, :3]
    assert torch.allclose(factors, factors[:, :1, :1].expand_as(factors), atol=1e-4)
    assert ((factors > 0.3) & (factors < 1.5)).all()
    monkeypatch.undo()
    still = torch.zeros(6, HORIZON, 4)
    off = disturbed(still, first_rows(8, 8, 8, 8, 8, 8), STD)[:, :8, :3]
    assert torch.allclose(off, off[:, :1].expand_as(off), atol=1e-6)
    assert off.abs().max() > 0.01


def test_the_gripper_and_chunks_without_given_rows_stay(chunks):
    found = disturbed(chunks, first_rows(0, 0, 0, 4, 4, 4), STD)
    assert torch.equal(found[:3], chunks[:3])
    assert torch.equal(found[..., 3], chunks[..., 3])
    assert not torch.equal(found[3:, :, :3], chunks[3:, :, :3])


def test_an_axis_that_hardly_moves_is_hardly_changed(chunks):
    std = torch.tensor([1e-3, 1.0, 1.0, 1.0])
    found = disturbed(chunks, first_rows(8, 8, 8, 8, 8, 8), std)
    assert (found - chunks)[:, :8, 0].abs().max() <= 5.001e-3
