# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The round trip measures what its file does not hold yet, and writes after each way."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.roundtrip import run as roundtrip
from efficient_vla.cli.bench_roundtrip import WAYS
from efficient_vla.errors import UsageError
from efficient_vla.records import EpisodeResult

FOLDER = Path(__file__).resolve().parents[1] / 'fixtures' / 'lerobot' / 'act'
RUN = roundtrip.Run(('reach-v3',), 2, 1000, '', Path('hub'))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ways that were measured; in each the first episode succeeds."""
    ways: list[str] = []

    def measures(way: str):
        def measure(run, folder):
            ways.append(way)
            seeds = [seed for _, seed in run.jobs]
            return [episode(seed, seed == seeds[0]) for seed in seeds], {'parameters': {'a': 1}}

        return measure

    assert tuple(roundtrip.MEASURES) == WAYS
    monkeypatch.setattr(roundtrip, 'MEASURES', {way: measures(way) for way in WAYS})
    return ways


def episode(seed: int, success: bool) -> EpisodeResult:
    return EpisodeResult('reach-v3', seed, 'reach', success, 1.0, 0, 0.0, 0)


def test_what_the_file_holds_is_not_measured_again(tmp_path, asked):
    out = tmp_path / 'out.json'
    rows = roundtrip.measure(RUN, [FOLDER], ('process',), out)
    assert json.loads(out.read_text())['rows'] == rows
    assert [(row['way'], row['success_rate']) for row in rows] == [('process', 0.5)]
    assert rows[0]['manifest']['parameters'] == {'a': 1}
    roundtrip.measure(RUN, [FOLDER], WAYS, out)
    assert asked == ['process', 'lerobot']
    rows = roundtrip.measure(replace(RUN, seed=7), [FOLDER], ('process',), out)
    assert asked[2:] == ['process']
    assert [row['way'] for row in rows] == ['lerobot', 'process']
    assert rows[1]['outcomes'] == [['reach-v3', 7, True], ['reach-v3', 8, False]]


def test_what_was_measured_before_a_way_fails_is_in_the_file(tmp_path, asked, monkeypatch):
    def fails(run, folder):
        raise RuntimeError

    monkeypatch.setitem(roundtrip.MEASURES, 'lerobot', fails)
    with pytest.raises(RuntimeError):
        roundtrip.measure(RUN, [FOLDER], ('process', 'lerobot'), tmp_path / 'out.json')
    (row,) = json.loads((tmp_path / 'out.json').read_text())['rows']
    assert row['way'] == 'process'
    line = roundtrip.table([row]).splitlines()[-1]
    assert line.startswith('| act | process | 50.0 % (')
    assert line.endswith('| 1/2 |')


@pytest.mark.parametrize('text', ['', '[]', '{"rows": [{"policy": "act"}]}', '{"rows": [3]}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    (tmp_path / 'out.json').write_text(text)
    with pytest.raises(UsageError, match=r'holds no rows of this benchmark.*Choose another file'):
        roundtrip.measure(RUN, [FOLDER], ('process',), tmp_path / 'out.json')
