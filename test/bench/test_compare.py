# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Paired comparison of two evaluations."""

import json

import pytest

from efficient_vla import cli
from efficient_vla.bench.compare import compare, read_outcomes
from efficient_vla.errors import UsageError


def outcomes(task: str, successes: list[bool]) -> dict[tuple[str, int], bool]:
    return {(task, 1000 + index): success for index, success in enumerate(successes)}


def test_pairs_are_matched_by_task_and_seed():
    first = outcomes('reach-v3', [True] * 6 + [False]) | outcomes('push-v3', [True])
    second = outcomes('reach-v3', [False] * 6 + [False]) | outcomes('door-open-v3', [True])
    found = compare(first, second)
    assert list(found) == ['reach-v3', 'all']
    row = found['reach-v3']
    assert (row['pairs'], row['only_first'], row['only_second']) == (7, 6, 0)
    assert row['first'] == pytest.approx(6 / 7)
    # Six pairs in one direction: 2 * (1/2)^6.
    assert row['p_value'] == pytest.approx(1 / 32)


def test_results_without_common_episodes_are_refused():
    with pytest.raises(UsageError, match='no episode in common'):
        compare(outcomes('reach-v3', [True]), outcomes('push-v3', [True]))


def test_file_that_is_no_result_is_refused(tmp_path):
    path = tmp_path / 'other.json'
    path.write_text('{"tasks": []}')
    with pytest.raises(UsageError, match=r'other\.json is no result'):
        read_outcomes(path)
    with pytest.raises(UsageError, match=r'absent\.json is no result'):
        read_outcomes(tmp_path / 'absent.json')


def test_command_shows_the_table(tmp_path, capsys):
    paths = []
    for name, success in (('a', True), ('b', False)):
        paths.append(tmp_path / f'{name}.json')
        episode = {'task': 'reach-v3', 'seed': 1000, 'success': success}
        paths[-1].write_text(json.dumps({'episodes': [episode]}))
    assert cli.main(['bench', 'compare', *map(str, paths)]) == 0
    output = capsys.readouterr().out
    assert 'reach-v3' in output
    assert '100%' in output
