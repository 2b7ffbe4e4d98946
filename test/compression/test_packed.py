# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Packed weights: codes, scales and order of bytes by hand, and torch's own unpacking beside."""

import numpy as np
import pytest
import torch
from torch import nn

from efficient_vla.compression import packed
from efficient_vla.compression.packed import (
    ByteRows,
    GroupedInt4,
    GroupedNormal,
    PackedLinear,
    TernaryRows,
)
from efficient_vla.settings import InvalidSettingError

HALF_ONE, HALF_MINUS_ONE = [0x00, 0x3C], [0x00, 0xBC]


def test_eight_bits_have_one_scale_a_row():
    rows = ByteRows(torch.tensor([[0.5, -2.54, 1.27], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(rows.scale[0], 0.02)
    assert rows.codes.tolist() == [[25, -127, 64], [0, 0, 0]]
    layer = PackedLinear(nn.Linear(3, 2, bias=False), rows)
    np.testing.assert_allclose(layer(torch.ones(1, 3)), [[-38 * 0.02, 0.0]], atol=1e-6)


def test_four_bits_lie_low_nibble_first_before_scale_and_least_value():
    weight = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 15.0]])
    made = GroupedInt4(weight, 8)
    assert made.packed.tolist() == [[0x10, 0x32, 0x54, 0xF6, *HALF_ONE, 0, 0]]
    assert made.rows(0, 1).tolist() == weight.tolist()


def test_groups_of_four_bits_have_scales_of_their_own_and_the_last_may_be_short():
    weight = torch.cat([torch.arange(16.0), torch.arange(8.0) * 30 - 105])[None]
    made = GroupedInt4(weight, 16)
    scale, least = made.packed[:, -4:].contiguous().view(torch.float16).float().T
    assert made.packed.shape == (2, 8 + 4)
    assert (scale[0], least[0]) == (1.0, 0.0)
    np.testing.assert_allclose(made.rows(0, 1)[0, :16], np.arange(16), atol=1e-3)
    assert made.rows(0, 1).shape == (1, 24)
    assert (made.rows(0, 1) - weight)[0, 16:].abs().max() <= 7.5


def test_a_clipped_range_is_taken_where_it_errs_less():
    group = torch.tensor([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3]])
    group = torch.cat([group.repeat(1, 9), torch.tensor([[-0.35, 2.1]])], 1)
    codes, scale, _ = packed.rounded(group)
    assert scale.item() < 2.45 / 15 * 0.95
    assert (codes[0, -2], codes[0, -1]) == (0, 15)


def test_ternary_rounds_by_the_mean_size_and_packs_four_to_a_byte():
    made = TernaryRows(torch.tensor([[-1.0, 0.2, 2.0, 0.8, 0.4, -0.4]]))
    np.testing.assert_allclose(made.scale, 0.8)
    # Codes are 0, 1, 2 for -1, 0, 1: 0 1 2 2 | 1 0 (-0.5 is even's 0) and padding.
    assert made.rows(0, 1).tolist() == [[-1, 0, 1, 1, 0, 0]]
    codes = [0 | 1 << 2 | 2 << 4 | 2 << 6, 1 | 1 << 2]
    assert made.packed.tolist() == [[*codes, *HALF_ONE, *HALF_MINUS_ONE]]


def test_ternary_inputs_are_whole_numbers_of_their_row():
    weight = TernaryRows(torch.tensor([[3.0, -3.0]]))
    layer = PackedLinear(nn.Linear(2, 1, bias=False), weight, 8)
    # 0.1 of 12.7 is 1 of 127 and 0.04 is 0; the other row is scaled by itself.
    found = layer(torch.tensor([[12.7, 0.04], [0.127, 0.1]]))
    np.testing.assert_allclose(found, [[3 * 12.7], [3 * 0.027]], rtol=1e-5)


def test_nf4_names_the_nearest_quantile_low_nibble_first():
    levels = packed.normal_levels()
    # From the table that bitsandbytes ships.
    np.testing.assert_allclose(
        levels[[0, 1, 6, 7, 8, 14, 15]],
        [-1.0, -0.6961928, -0.0910500, 0.0, 0.0795803, 0.7229568, 1.0],
        atol=1e-6,
    )
    made = GroupedNormal(torch.tensor([[4.0, -4.0, 0.1, 2.9, 0.3, 0.0, -2.9, 0.0]]), 8)
    assert made.codes.tolist() == [[0x0F, 0xE7, 0x78, 0x71]]
    assert made.largest.flatten().tolist() == [4.0]
    found = made.rows(0, 1)[0]
    np.testing.assert_allclose(found[:4], 4 * levels[[15, 0, 7, 14]])


def test_a_hadamard_rotation_is_orthogonal_and_levels_an_outlier():
    rotation = packed.hadamard(4)
    assert (2 * rotation).tolist() == [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
    row = torch.tensor([[8.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]])
    turned = packed.rotated(row, rotation)
    assert turned[0, :4].tolist() == [4.0, 4.0, 4.0, 4.0]
    np.testing.assert_allclose(packed.rotated(turned, rotation), row, atol=1e-6)


@pytest.mark.parametrize('bits', [2, 4])
def test_other_devices_unpack_the_bytes_as_torch_does_on_the_cpu(bits):
    torch.manual_seed(0)
    prepack = getattr(torch.ops.quantized, f'embedding_bag_{bits}bit_prepack')
    rows = prepack(torch.randn(5, 24))
    unpack = getattr(torch.ops.quantized, f'embedding_bag_{bits}bit_unpack')
    np.testing.assert_allclose(packed.unpacked_anywhere(rows, bits), unpack(rows), atol=1e-6)


def test_blocks_of_rows_give_what_all_rows_at_once_give(monkeypatch):
    torch.manual_seed(0)
    linear = nn.Linear(32, 21)
    layer = PackedLinear(linear, GroupedInt4(linear.weight.detach(), 32))
    x = torch.randn(2, 3, 32)
    whole = layer(x)
    monkeypatch.setattr(packed, 'BLOCK', 32 * 4)
    np.testing.assert_allclose(layer(x).detach(), whole.detach(), atol=1e-6)
    assert whole.shape == (2, 3, 21)


def test_weights_beyond_the_range_of_a_scale_are_refused():
    with pytest.raises(InvalidSettingError, match='65504'):
        GroupedInt4(torch.full((1, 8), -1e6), 8)
