# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Success under several conditions: which episodes are run, and what is made of them."""

import json
from pathlib import Path

import pytest

from efficient_vla import cli
from efficient_vla.bench import conditions
from efficient_vla.bench.evaluate import Request
from efficient_vla.sim.metaworld.tasks import INSTRUCTIONS


def played(succeeds):
    """Return an evaluation in which ``succeeds(request, task, seed)`` decides."""

    def evaluate(request, on_result=None):
        episodes = [
            {'task': task, 'seed': seed, 'success': succeeds(request, task, seed)}
            for task, seed in request.jobs()
        ]
        rates = {
            task: sum(e['success'] for e in episodes if e['task'] == task) / request.episodes
            for task in request.tasks
        }
        tasks = {task: {'success_rate': rate} for task, rate in rates.items()}
        return {'episodes': episodes, 'tasks': tasks, 'manifest': {'mode': 'played'}}

    return evaluate


def request(*tasks, **fields):
    return Request(Path('policy'), tasks, 4, 1000, **fields)


def test_techniques_are_paired_with_dense(monkeypatch):
    def succeeds(request, task, seed):
        pruned = request.overrides.get('reasoner', {}).get('pruning.method') == 'fastv'
        assert request.overrides['actor'] == {'architecture': 'single'}
        return not pruned or seed == 1000

    monkeypatch.setattr(conditions, 'evaluate', played(succeeds))
    asked = request('reach-v3', 'push-v3', overrides={'actor': {'architecture': 'single'}})
    found = conditions.techniques(asked, ['fastv 0.5'])
    dense, pruned = found['rows']
    assert (dense['technique'], dense['success_rate'], dense['p_value']) == ('dense', 1.0, 1.0)
    assert (pruned['technique'], pruned['success_rate'], pruned['reach-v3']) == (
        'fastv 0.5',
        0.25,
        0.25,
    )
    assert (pruned['only_dense'], pruned['only_technique'], pruned['episodes']) == (6, 0, 8)
    # Six pairs in one direction: 2 * (1/2)^6.
    assert pruned['p_value'] == pytest.approx(1 / 32)
    assert found['manifest'] == {'mode': 'played'}


def test_scenes_are_asked_for_their_own_task_for_others_and_for_nonsense(monkeypatch):
    def succeeds(request, task, seed):
        return request.sentence in (None, INSTRUCTIONS[task])

    monkeypatch.setattr(conditions, 'evaluate', played(succeeds))
    rows = conditions.instructions(request('door-open-v3', 'reach-v3'))['rows']
    seen = [(row['scene'], row['kind'], row['success_rate']) for row in rows]
    assert seen == [
        ('door-open-v3', 'own', 1.0),
        ('door-open-v3', 'nonsense', 0.0),
        ('reach-v3', 'own', 1.0),
        ('reach-v3', 'other task', 0.0),
        ('reach-v3', 'other task', 0.0),
        ('reach-v3', 'nonsense', 0.0),
    ]
    assert {row['sentence'] for row in rows if row['kind'] == 'other task'} == {
        INSTRUCTIONS['push-v3'],
        INSTRUCTIONS['pick-place-v3'],
    }


@pytest.mark.parametrize('part', ['techniques', 'instructions'])
def test_commands_show_and_write_their_rows(part, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(conditions, 'evaluate', played(lambda *_: True))
    target = tmp_path / 'out.json'
    words = ['bench', part, '--tasks', 'reach-v3', '--episodes', '2', '--json', str(target)]
    assert cli.main(words) == 0
    assert '100%' in capsys.readouterr().out
    found = json.loads(target.read_text())
    assert found['manifest'] == {'mode': 'played'}
    assert {row['episodes'] for row in found['rows']} == {2}


def test_unknown_technique_is_refused(capsys):
    assert cli.main(['bench', 'techniques', '--names', 'magic']) == cli.EXIT_USAGE
    assert "unknown technique 'magic'; expected some of dense, fastv 0.5" in capsys.readouterr().err
