# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of a policy folder, beside a peer that may not be there."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from lerobot_folders import FIXTURES

from benchmarks.policies import measure as bench
from benchmarks.policies.peer import CELL, seen
from efficient_vla import cli
from efficient_vla.policy_folders import folder_facts
from efficient_vla.settings import InvalidSettingError

PEER = """
import json, sys
import numpy as np
given = np.load(sys.argv[-1])
for line in sys.stdin:
    load = line.strip() == 'load'
    stages = {'actor': 2.0, 'total': 3.0}
    made = np.zeros((8, 6)).tolist()
    memory = {'resident_mb': 5.0, 'peak_mb': 6.0}
    answer = {'load_s': 1.0} if load else {'stages': stages, 'actions': made}
    print(json.dumps(answer | memory), flush=True)
"""


def test_both_sides_are_timed_in_turns_and_compared(tmp_path, monkeypatch):
    script = tmp_path / 'peer.py'
    script.write_text(PEER)
    monkeypatch.setattr(bench, 'PEER', script)
    row = bench.measure(FIXTURES / 'act', 2, Path(sys.executable), 1)
    assert row['peer']['stages'] == {
        'actor': {'p50_ms': 2.0, 'p95_ms': 2.0},
        'total': {'p50_ms': 3.0, 'p95_ms': 3.0},
    }
    assert set(row['ours']['stages']) == {'perception', 'reasoner', 'actor', 'total'}
    assert row['ours']['peak_mb'] >= row['ours']['resident_mb'] > 50
    # A chunk of zeros is as far off as the actions are large, counted in the policy's own units.
    with np.load(FIXTURES / 'act/reference.npz') as file:
        actions, chunk = file['actions'][0], file['chunk'][0]
    slope = (actions[1] - actions[0]) / (chunk[1] - chunk[0])
    assert row['max_error'] == pytest.approx(np.abs(actions / slope).max(), rel=1e-3)


@pytest.mark.parametrize(
    ('text', 'said'),
    [('', 'its process ended'), ('print("loading", flush=True); input()', "says 'loading'")],
)
def test_a_peer_that_answers_nothing_is_said(tmp_path, monkeypatch, text, said):
    script = tmp_path / 'peer.py'
    script.write_text(text)
    monkeypatch.setattr(bench, 'PEER', script)
    row = bench.measure(FIXTURES / 'act', 1, Path(sys.executable), 1)
    assert said in row['peer']['error']
    assert row['ours']['stages']['total']['p50_ms'] > 0


def test_a_peer_without_lerobot_is_said_and_ours_is_measured(tmp_path, capsys):
    out = tmp_path / 'policies.json'
    words = ['bench', 'policies', str(FIXTURES / 'act'), '--quick', '--threads', '1']
    assert cli.main([*words, '--peer-python', sys.executable, '--json', str(out)]) == 0
    (row,) = json.loads(out.read_text())['rows']
    assert 'lerobot' in row['peer']['error']
    assert row['ours']['stages']['total']['p50_ms'] > 0
    assert 'max_error' not in row
    assert "LeRobot's own class fails" in capsys.readouterr().out


def test_an_observation_that_is_drawn_is_what_the_folder_takes(copied):
    folder = copied('pi05')
    (folder / 'reference.npz').unlink()
    found = bench.observation(folder, folder_facts(folder))
    assert found['observation.images.front'].shape == (48, 64, 3)
    assert found['observation.state'].shape == (6,)
    assert found['noise'].shape == (1, 8, 32)


def test_parameters_make_a_third_side_that_is_compared_with_ours(tmp_path, monkeypatch):
    words = ('perception.cache.method=patch', 'reasoner.quantization.mode=int8_dynamic')
    row = bench.measure(FIXTURES / 'smolvla', 2, None, 1, words, changed=0.25)
    assert row['overrides'] == ' '.join(words)
    assert set(row['tuned']['stages']) == set(row['ours']['stages'])
    assert 0 < row['tuned_error'] < 1
    with pytest.raises(InvalidSettingError, match=r'cach\.method'):
        bench.measure(FIXTURES / 'act', 1, None, 1, ('perception.cach.method=patch',))


def test_a_share_of_each_image_is_new_every_turn_and_the_same_for_all_sides():
    image = np.zeros((CELL * 4, CELL * 5, 3), np.uint8)
    inputs = {'observation.images.front': image, 'task': 'push', 'changed': 0.25}
    one, again, other = (seen(inputs, turn)['observation.images.front'] for turn in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    cells = one.reshape(4, CELL, 5, CELL, 3).any((1, 3, 4))
    assert cells.sum() == 5
    assert not image.any()
    still = seen(inputs | {'changed': 0.0}, 3)
    assert list(still) == ['observation.images.front']
    assert not still['observation.images.front'].any()
