# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Linear layers of OpenVINO's models in integers, against numbers rounded by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from efficient_vla.engines import fitting, integers, openvino, store
from efficient_vla.engines.graphs import EngineGraph, EngineRequest, child
from efficient_vla.settings import InvalidSettingError

SCALE = 1 / 127
needs_dots = pytest.mark.skipif(
    not set(integers.INTEGER_DOTS) & set(store.instruction_sets()),
    reason='OpenVINO rounds inputs as they come where products of 8 bits are summed in 32',
)


class Pair(nn.Module):
    """Two linear layers beside each other."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = linear(first), linear(second)

    def forward(self, rows):
        return self.first(rows), self.second(rows)


def linear(weight):
    weight = torch.tensor(weight)
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight = nn.Parameter(weight, requires_grad=False)
    return made


def compiled(module, mode, layers, columns=2, group=8):
    form = integers.form(mode, layers, group)
    graph = EngineGraph('pair', module, lambda made: None)
    graph.calls = [(torch.ones(1, rows, columns),) for rows in (2, 3)]
    return openvino.compiled(graph, EngineRequest('openvino', 1, 1.0, None, form))


@pytest.fixture(autouse=True)
def _precise(monkeypatch):
    """Let what is not rounded to integers be in float32, as wide as on every machine."""
    monkeypatch.setattr(openvino, 'computes_in_bfloat16', lambda: False)
    monkeypatch.setattr(integers, '_levels', lambda: 256)


def test_weights_are_127ths_of_the_largest_of_their_row():
    # 0.004 is 0.508 of 1 / 127, and so one of them; 0.05 is 0.794 of 8 / 127.
    pair = Pair([[1.0, 0.004], [-8.0, 0.05]], [[1.0, 0.004]])
    found, exact = compiled(pair, 'int8_weight', {pair.first: None})(torch.eye(2)[None])
    expected = [1.0, -8.0, SCALE, 8 * SCALE]
    assert found.flatten().tolist() == pytest.approx(expected, rel=1e-6)
    assert exact[0, :, 0].tolist() == pytest.approx([1.0, 0.004])


def test_inputs_are_rounded_between_the_numbers_that_were_measured():
    pair = Pair([[1.0, 0.0]], [[1.0, 0.0]])
    layers = {pair.first: torch.tensor([-1.0, 0.275])}
    made = compiled(pair, 'int8', layers)
    # Steps of 1.275 / 255 = 0.005: 0.1012 lies next to 0.1, and 5 is cut off.
    rows = torch.tensor([[[0.1012, 0.0], [5.0, 0.0], [-3.0, 0.0]]])
    found, exact = made(rows)
    assert found[0, :, 0].tolist() == pytest.approx([0.1, 0.275, -1.0], abs=1e-4)
    assert exact[0, :, 0].tolist() == pytest.approx([0.1012, 5.0, -3.0])


@needs_dots
def test_inputs_are_rounded_as_they_come_64_by_a_scale():
    pair = Pair([[1.0] * 128] * 64, [[1.0] * 128] * 64)
    made = compiled(pair, 'int8_dynamic', {pair.first: None}, columns=128)
    rows = torch.randn(1, 4, 128, generator=torch.Generator().manual_seed(0))
    groups = rows.unflatten(-1, (2, 64))
    step = groups.abs().amax(-1, keepdim=True) * SCALE
    rounded = ((groups / step).round() * step).sum((-1, -2))
    found, exact = made(rows)
    assert torch.allclose(found[..., 0], rounded, atol=1e-4)
    assert not torch.allclose(exact[..., 0], rounded, atol=1e-2)


def test_the_rest_is_in_bfloat16_where_the_processor_computes_in_it(monkeypatch):
    monkeypatch.undo()
    if not openvino.computes_in_bfloat16():
        pytest.skip('this processor does not compute in bfloat16')
    pair = Pair([[1.0, 0.004]], [[1.0, 0.1234567]])
    form = integers.form('int8_dynamic', {pair.first: None}, 64)
    assert (form.name, form.precision) == ('int8_dynamic, the rest in bfloat16', 'bf16')
    _, near = compiled(pair, 'int8_dynamic', {pair.first: None})(torch.tensor([[[0.0, 1.0]]]))
    assert float(near) == pytest.approx(0.1234567, rel=1e-2)
    assert float(near) != pytest.approx(0.1234567, rel=1e-6)


def test_weights_of_four_bits_share_scale_and_zero_in_a_group():
    # The first group runs from 0 to 15 in steps of 1, the second from -1 to 2 in steps of 0.2.
    weight = [[0, 1, 2, 3.4, 7, 8, 9, 15], [-1, -0.9, 0.21, 0, 0, 0, 0, 2]]
    pair = Pair([[float(number) for group in weight for number in group]], [[0.0] * 16])
    found, _ = compiled(pair, 'int4_weight', {pair.first: None}, columns=16)(torch.eye(16)[None])
    expected = [0, 1, 2, 3, 7, 8, 9, 15, -1, -0.8, 0.2, 0, 0, 0, 0, 2]
    assert found[0, :, 0].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(('mode', 'times'), [('int8_weight', 3.9), ('int4_weight', 6.0)])
def test_weights_are_kept_packed(mode, times):
    pair = Pair(torch.randn(256, 256).tolist(), torch.randn(256, 256).tolist())
    whole = compiled(pair, 'int8_weight', {}, columns=256, group=64).weight_bytes
    layers = {pair.first: None, pair.second: None}
    packed = compiled(pair, mode, layers, columns=256, group=64).weight_bytes
    assert whole > times * packed


def test_layers_that_the_engine_has_under_no_name_are_told():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = linear([[1.0, 2.0]])

        def forward(self, rows):
            return rows + 1

    module = Unused()
    with pytest.raises(RuntimeError, match='none of 1 linear layers is found'):
        compiled(module, 'int8_weight', {module.first: None})


def test_other_ranges_are_other_exports():
    pair = Pair([[1.0, 0.0]], [[1.0, 0.0]])
    graph = EngineGraph('pair', pair, lambda made: None)
    graph.calls = [(torch.ones(1, 2, 2),)]
    keys = {
        store.key(graph, EngineRequest('openvino', 1, 1.0, None, form), '1')
        for form in (
            integers.form('int8', {pair.first: torch.tensor([-1.0, 1.0])}, 64),
            integers.form('int8', {pair.first: torch.tensor([-1.0, 2.0])}, 64),
            integers.form('int8_dynamic', {pair.first: None}, 64),
            integers.form('int4_weight', {pair.first: None}, 64),
            integers.form('int4_weight', {pair.first: None}, 32),
            integers.form('int4_weight', {pair.second: None}, 32),
        )
    }
    assert len(keys) == 6


class Chain(nn.Module):
    """Three layers behind each other, of which the first one is called beside the graph too."""

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(0)
        rows = [torch.randn(64, 64, generator=random) for _ in range(3)]
        self.body = nn.Sequential(*(linear(weight.tolist()) for weight in rows))
        self.first = self.body[0]

    def forward(self, rows):
        return self.body(rows) + self.first(rows)


def fitted(mode, bound=0.0, **changed):
    chain = Chain()
    ranges = [torch.tensor([-1.0, 1.0]) * reach for reach in (2, 16, 128)]
    known = ranges if mode == 'int8' else [None] * 3
    form = replace(integers.form(mode, dict(zip(chain.body, known, strict=True)), 32), **changed)
    random = torch.Generator().manual_seed(1)
    given = [torch.randn(1, rows, 64, generator=random) for rows in (2, 3)]
    probes = [lambda rows=rows: chain(rows) for rows in given]
    request = EngineRequest('openvino', 1, bound or form.max_error, None, form)
    return fitting.fit([child(chain, 'body')], probes, request)


@pytest.fixture
def no_exports(monkeypatch):
    monkeypatch.setattr(store, 'place', lambda policy: None)


MODES = [
    pytest.param(mode, marks=needs_dots if mode == 'int8_dynamic' else ()) for mode in integers.BITS
]


@pytest.mark.parametrize('mode', MODES)
def test_an_engine_computes_what_torch_does_that_rounds_alike(no_exports, mode):
    report = fitted(mode)
    assert float(report.worst.split('(')[1][:-1]) < 0.1 * report.error
    assert 0.005 < report.error < 0.3


def test_torch_rounds_once_for_an_export_that_is_kept():
    def rounds(graphs):
        raise AssertionError('it rounds again')

    assert fitted('int8_weight').kept == 0
    assert fitted('int8_weight', rounded=rounds).kept == 1


@pytest.mark.parametrize('first', [0.0, 10.0], ids=['refused', 'taken under a wider bound'])
def test_an_export_that_missed_its_bound_is_not_trusted_later(monkeypatch, first):
    computed = openvino._Runner.__call__

    def wrong(self, *inputs):
        return tuple(1.5 * part for part in computed(self, *inputs))

    monkeypatch.setattr(openvino._Runner, '__call__', wrong)
    if first:
        assert fitted('int8_weight', bound=first).kept == 0
    for _ in range(2):
        with pytest.raises(InvalidSettingError, match='relative error of 5'):
            fitted('int8_weight')


products = integers._products


def while_changed(monkeypatch, other):
    """Let a model's weights be replaced by ``other`` products, but be looked at by its own."""
    turns = iter([other])
    monkeypatch.setattr(integers, '_products', lambda *given: next(turns, products)(*given))


def once(function, change):
    """Return the function with its second call's argument changed."""
    calls = []

    def changed(weight, *more):
        calls.append(weight)
        return function(change(weight.copy()) if len(calls) == 2 else weight, *more)

    return changed


def with_a_bit_of_a_scale_flipped(weight):
    weight[3] *= 2
    return weight


CHECKS = {
    'its error': {'verify': lambda model, graph: None},
    'its constants': {'max_error': 100.0, 'rounded': None},
}


def refused(by):
    said = 'relative error' if by == 'its error' else 'has other weights or ranges than the layer'
    return pytest.raises(InvalidSettingError, match=said)


DAMAGES = {'a bit of a scale': with_a_bit_of_a_scale_flipped, 'another layer': lambda w: w[::-1]}


@pytest.mark.parametrize('by', CHECKS)
@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('mode', MODES)
def test_other_weights_than_those_of_the_layer_are_refused(
    no_exports, monkeypatch, mode, damage, by
):
    name = '_grouped' if integers.BITS[mode] == 4 else '_by_row'
    monkeypatch.setattr(integers, name, once(getattr(integers, name), DAMAGES[damage]))
    with refused(by):
        fitted(mode, **CHECKS[by])


@pytest.mark.parametrize('by', CHECKS)
@pytest.mark.parametrize('mode', ['int8', 'int8_weight', 'int4_weight'])
def test_a_layer_that_stayed_in_float32_is_refused(no_exports, monkeypatch, mode, by):
    while_changed(monkeypatch, lambda *given: list(products(*given))[1:])
    with refused(by):
        fitted(mode, **CHECKS[by])


@pytest.mark.parametrize('by', CHECKS)
def test_inputs_that_are_rounded_between_other_numbers_are_refused(no_exports, monkeypatch, by):

    def narrow(model, graph, layers):
        for product, layer in list(products(model, graph, layers)):
            layers[layer] = layers[layer] / 2
            yield product, layer
            layers[layer] = layers[layer] * 2

    while_changed(monkeypatch, narrow)
    with refused(by):
        fitted('int8', **CHECKS[by])
