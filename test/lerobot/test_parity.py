# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Policies of LeRobot compute what LeRobot's own classes computed, stage by stage."""

import json

import numpy as np
import pytest
from lerobot_folders import FIXTURES, FOLDERS, reference

from efficient_vla import cli
from efficient_vla.bench.parity import LIMIT, parity
from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.folder import open_folder

DEGREES = 1e-3
"""Actions are some 60 times as large as the normalised chunk."""


@pytest.mark.parametrize('name', FOLDERS)
def test_every_stage_of_a_policy_equals_that_of_lerobot(name):
    row = parity(FIXTURES / name)
    assert row['policy_type'] == open_folder(FIXTURES / name).type
    assert row['uncompared'] == []
    assert row['max_error'] == row['errors']['chunk'] < LIMIT
    limits = {stage: DEGREES if stage == 'actions' else LIMIT for stage in row['errors']}
    assert {stage: error for stage, error in row['errors'].items() if error > limits[stage]} == {}


def test_a_difference_is_reported_and_fails(copied, tmp_path, capsys):
    folder = copied('act')
    found = reference('act')
    found['chunk'] = found['chunk'] + np.float32(0.01)
    np.savez(folder / 'reference.npz', **found)
    out = tmp_path / 'parity.json'
    code = cli.main(['bench', 'parity', str(FIXTURES / 'act'), str(folder), '--json', str(out)])
    assert code == cli.EXIT_FAILED
    good, bad = json.loads(out.read_text())['rows']
    assert good['max_error'] < LIMIT
    assert bad['max_error'] == pytest.approx(0.01, rel=1e-2)
    assert (good['policy_type'], bad['folder']) == ('act', str(folder))
    assert 'no' in capsys.readouterr().out


def test_an_error_that_is_no_number_is_never_small(copied):
    folder = copied('act')
    found = reference('act')
    found['chunk'][0, 0, 0] = np.nan
    np.savez(folder / 'reference.npz', **found)
    assert parity(folder)['max_error'] == np.inf


@pytest.mark.parametrize('data', [None, b'', b'PK nothing', b'PK\x03\x04'])
def test_a_damaged_reference_is_one_sentence(copied, data):
    folder = copied('act')
    (folder / 'reference.npz').unlink()
    if data is not None:
        (folder / 'reference.npz').write_bytes(data)
    with pytest.raises(CheckpointError, match=r'reference\.npz cannot be read'):
        parity(folder)
