# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a pass of fewer layers is counted as, and that all ways are settings of the reasoner."""

from types import SimpleNamespace

import pytest

from benchmarks.depth import DENSE, DEPTH, WAYS, Counted
from efficient_vla.bench.overrides import build_settings, parse_overrides
from efficient_vla.reasoning.depth import METHODS


@pytest.mark.parametrize(
    ('numbers', 'route', 'share'),
    [
        ((0, 1, 2), None, 0.5),
        ((0, 1, 2, 3, 4, 5), {'skipped': {1, 2}}, 4 / 6),
        ((0, 1, 2, 3, 4, 5), {'skipped': set(), 'cost': 0.27}, 0.27),
        ((0, 1, 2, 3, 4, 5), {'skipped': set(), 'cost': None}, 1.0),
    ],
)
def test_a_pass_costs_its_layers_or_what_its_route_says(numbers, route, share):
    way = None if route is None else SimpleNamespace(**route)
    reasoner = SimpleNamespace(
        plan=lambda tokens, text: (tokens, text),
        trunk=SimpleNamespace(numbers=numbers, depth=6, route=way),
        state_names=('x',),
    )
    counted = Counted(reasoner)
    assert counted.plan('tokens', 'text') == ('tokens', 'text')
    assert counted.costs == [pytest.approx(share)]
    assert counted.state_names == ('x',)


def test_every_method_is_measured_beside_all_layers():
    assert {way.get('method', DENSE) for way in WAYS.values()} == {DENSE, *METHODS}
    for way in WAYS.values():
        found = build_settings(parse_overrides([f'{DEPTH}.{k}={v}' for k, v in way.items()]))
        assert found['reasoner'].depth.method == way.get('method', 'none')
