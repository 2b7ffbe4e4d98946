# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Inputs that are rounded between numbers that were measured before."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from efficient_vla import checkpoint
from efficient_vla.compression.quantization import quantizable, quantize
from efficient_vla.compression.ranges import StaticLinear, ranges_of, watched
from efficient_vla.errors import CheckpointError
from efficient_vla.quantization_settings import QuantizationSettings
from efficient_vla.settings import InvalidSettingError
from efficient_vla.training.files import write_addon


def test_scale_and_zero_point_share_the_range_in_127_steps():
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data[:] = torch.tensor([[1.27, -0.64]])
    made = StaticLinear(layer, torch.tensor([-2.7, 10.0]))
    assert (made.scale, made.zero) == (pytest.approx(0.1), 27)
    # 0.449 is 4 steps and -0.26 is -3; the weights are 127 and -64 steps of 0.01.
    found = made(torch.tensor([[0.449, -0.26]]))
    np.testing.assert_allclose(found, [[0.4 * 1.27 + 0.3 * 0.64]], rtol=1e-5)
    zero = StaticLinear(layer, torch.tensor([0.5, 12.7]))
    assert (zero.scale, zero.zero) == (pytest.approx(0.1), 0)


def test_the_least_and_greatest_of_all_calls_are_taken_down():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with watched(quantizable(model, ())) as found:
        model(torch.tensor([[1.0, -3.0]]))
        model(torch.tensor([[0.5, 2.0]]))
    assert {name: between.tolist() for name, between in found.items()} == {'0': [-3.0, 2.0]}
    model(torch.tensor([[9.0, 9.0]]))
    assert found['0'].tolist() == [-3.0, 2.0]


def test_measured_ranges_keep_the_products_near():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 32))
    x = torch.randn(40, 64)
    with watched(quantizable(model, ())) as found:
        exact = model(x)
    small = quantize(copy.deepcopy(model), 'int8', ranges=found)
    assert all(isinstance(layer, StaticLinear) for layer in (small[0], small[2]))
    error = (small(x) - exact).norm() / exact.norm()
    assert 0 < error < 0.05
    # Where the range is a tenth of the inputs, most of them are cut off.
    narrow = {name: between / 10 for name, between in found.items()}
    cut = quantize(copy.deepcopy(model), 'int8', ranges=narrow)
    assert (cut(x) - exact).norm() > 5 * (small(x) - exact).norm()


@pytest.mark.parametrize('names', ['0', '012'])
def test_ranges_of_other_layers_are_refused_with_the_command_that_measures_them(names):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    ranges = dict.fromkeys(names, torch.tensor([0.0, 1.0]))
    with pytest.raises(InvalidSettingError, match=r'the network has 2.* --method int8'):
        quantize(model, 'int8', ranges=ranges)


@pytest.mark.parametrize('between', [[1.0, 0.0], [0.0, 1.0, 2.0]])
def test_what_is_no_range_is_named(tmp_path, monkeypatch, between):
    monkeypatch.setattr(checkpoint, 'sha256', lambda folder: 'abc')
    found = {'actor.a': torch.tensor(between), 'reasoner.b': torch.tensor([0.0, 1.0])}
    write_addon(tmp_path, 'int8', {}, found, 'abc')
    with pytest.raises(CheckpointError, match=r'as range of actor\.a; expected its least'):
        ranges_of(tmp_path, 'actor', 'int8')
    assert ranges_of(tmp_path, 'reasoner', 'int8').keys() == {'b'}


def test_layers_that_stay_in_float32_need_no_range_to_be_taken_out():
    model = nn.ModuleDict({'a': nn.Linear(2, 2), 'b': nn.Linear(2, 2)})
    ranges = dict.fromkeys('ab', torch.tensor([0.0, 1.0]))
    small = quantize(model, QuantizationSettings('int8', exclude=('b',)), ranges=ranges)
    assert [type(small[name]) for name in 'ab'] == [StaticLinear, nn.Linear]
