# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights that were trained to be ternary: how they are packed, read and kept by fused layers."""

import pytest
import torch
from torch import nn

from efficient_vla import checkpoint
from efficient_vla.compression import trained_ternary
from efficient_vla.compression.packed import PackedLinear, TernaryRows
from efficient_vla.errors import CheckpointError
from efficient_vla.training.files import write_addon
from efficient_vla.training.recipes.ternary import TernaryLinear

CODES = torch.tensor([[-1.0, 0.0, 1.0, 1.0, 0.0], [1.0, -1.0, 0.0, 0.0, -1.0]])

SAID = {'layers': 1, 'stages': ['reasoner']}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(5, 2), nn.LayerNorm(5, bias=False)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return a function that writes an add-on for stage ``reasoner``, and loads it."""
    monkeypatch.setattr(checkpoint, 'sha256', lambda folder: 'abc')

    def load(weights='abc', said=None, **changed):
        held = {
            'reasoner.layer.codes': trained_ternary.packed(CODES),
            'reasoner.layer.scale': torch.tensor([0.25]),
            'reasoner.norm.gain': torch.arange(5.0),
        }
        held |= {f'reasoner.{name.replace("__", ".")}': part for name, part in changed.items()}
        tensors = {name: part for name, part in held.items() if part is not None}
        write_addon(tmp_path, 'ternary', {**SAID, **(said or {})}, tensors, weights)
        network = Network()
        return network, trained_ternary.load(tmp_path, 'reasoner', network)

    return load


def test_four_weights_are_a_byte_the_first_in_its_lowest_bits():
    # 0, 1, 2, 2 in steps of 2 bits, then 1 and the zeros that fill the row up.
    assert trained_ternary.packed(CODES)[0].tolist() == [0 + 4 + 32 + 128, 1 + 4 + 16 + 64]
    assert torch.equal(trained_ternary.unpacked(trained_ternary.packed(CODES), 5), CODES)


def test_what_was_trained_takes_the_place_of_weights_and_gains(written, tmp_path):
    network, found = written()
    assert found
    assert torch.equal(network.layer.weight, 0.25 * CODES)
    assert network.norm.weight.tolist() == [0, 1, 2, 3, 4]
    other = Network()
    before = other.layer.weight.clone()
    assert not trained_ternary.load(tmp_path, 'perception', other)
    assert torch.equal(other.layer.weight, before)


def test_a_policy_without_such_a_file_keeps_its_weights(tmp_path):
    assert not trained_ternary.load(tmp_path, 'reasoner', Network())


@pytest.mark.parametrize(
    'changed',
    [
        {'layer__codes': trained_ternary.packed(CODES[:, :4])},
        {'layer__codes': torch.full((2, 2), 255, dtype=torch.uint8)},
        {'layer__codes': torch.zeros(0, 2, dtype=torch.uint8)},
        {'layer__scale': None},
        {'layer__scale': torch.tensor([-1.0])},
        {'layer__scale': torch.ones(2)},
        {'norm__gain': torch.ones(4)},
        {'other__gain': torch.ones(5)},
    ],
    ids=['narrow', 'no code', 'no rows', 'no scale', 'negative', 'scales', 'short', 'no layer'],
)
def test_what_does_not_fit_is_refused_with_its_layer(written, changed):
    layer = next(iter(changed)).partition('__')[0]
    with pytest.raises(CheckpointError, match=rf'of reasoner\.{layer} that .*--method ternary'):
        written(**changed)


@pytest.mark.parametrize(
    ('said', 'changed'),
    [
        ({'layers': 2}, {}),
        ({'stages': ['decoder']}, {}),
        ({}, {'layer__codes': None}),
        ({}, dict.fromkeys(('layer__codes', 'layer__scale', 'norm__gain'))),
    ],
    ids=['a layer is gone', 'another stage', 'no codes', 'nothing'],
)
def test_an_add_on_that_lacks_what_was_trained_is_refused(written, said, changed):
    with pytest.raises(CheckpointError, match=r'it says that it has .*--method ternary'):
        written(said=said, **changed)


def test_numbers_that_are_none_are_refused(written):
    with pytest.raises(CheckpointError, match=r'reasoner\.layer\.scale that are not finite'):
        written(layer__scale=torch.tensor([float('nan')]))


def test_what_was_trained_for_other_weights_is_refused(written):
    with pytest.raises(CheckpointError, match='was trained for weights'):
        written(weights='def')


def test_projections_that_share_a_layer_keep_their_own_scales():
    weight = torch.cat([0.25 * CODES, 3.0 * CODES, torch.zeros(1, 5)])
    packed = TernaryRows(weight)
    assert torch.equal(packed.rows(0, 5) * packed.scale[:, None], weight)


def test_training_computes_what_the_packed_layer_does_and_gradients_pass():
    torch.manual_seed(0)
    stock, x = nn.Linear(64, 32), torch.randn(3, 7, 64, requires_grad=True)
    made = TernaryLinear.of(stock)
    found = made(x)
    exact = PackedLinear(stock, TernaryRows(stock.weight.detach()), 8)(x.detach())
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=1e-5)
    assert (found - stock(x)).norm() > 0.1 * found.norm()
    found.sum().backward()
    codes = TernaryRows(stock.weight.detach())
    expected = (codes.rows(0, 32) * codes.scale).sum(0).expand_as(x)
    torch.testing.assert_close(x.grad, expected, atol=1e-4, rtol=1e-4)
    assert made.weight.grad.norm() > 0
