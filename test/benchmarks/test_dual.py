# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The control of what a plan carries: every row is paired with live plans of its conditioning."""

from pathlib import Path
from typing import Any

import pytest
from fixtures.policies import write_policy

from benchmarks import dual
from efficient_vla.bench.evaluate import Request


def test_success_with_first_and_wrong_plans_is_paired_with_live_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    won = {
        ('film', 'live'): [True, True],
        ('film', 'first'): [True, True],
        ('film', 'wrong'): [True, False],
        ('map_pool', 'live'): [False, True],
        ('map_pool', 'first'): [False, True],
        ('map_pool', 'wrong'): [True, False],
    }

    def played(request: Request) -> dict[str, Any]:
        given = request.overrides
        named = {given[node]['dual.conditioning'] for node in ('reasoner', 'actor')}
        assert given['eval']['max_steps'] == 40
        (name,) = named
        outcomes = won[name, given['eval']['plan']]
        pairs = enumerate(outcomes, request.seed)
        stages = {stage: {'latency_ms': {'p50': 1.0}} for stage in ('reasoner', 'actor')}
        episodes = [{'task': 'reach', 'seed': seed, 'success': ok} for seed, ok in pairs]
        return {'episodes': episodes, 'stages': stages}

    monkeypatch.setattr(dual, 'evaluate', played)
    request = Request(
        write_policy(tmp_path / 'policy'),
        ('reach',),
        2,
        7,
        {'eval': {'max_steps': 40}},
        robot='ur5e',
    )
    found = dual.rows(request, ('film', 'map_pool'))
    assert [(row['conditioning'], row['plan']) for row in found] == list(won)
    assert [row['success_rate'] for row in found] == [1.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    assert (found[2]['live_success_rate'], found[2]['only_live']) == (1.0, 1)
    assert (found[5]['only_live'], found[5]['only_wrong'], found[5]['p_value']) == (1, 1, 1.0)
    assert found[2]['reach_ci'] == pytest.approx([0.0945, 0.9055], abs=1e-3)
