# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of several datasets: which are used, and what they do to numbers."""

import json

import numpy as np
import pytest
from tiny_openvla import statistics

from efficient_vla.dataset_statistics import choose, scale_of
from efficient_vla.errors import CheckpointError
from efficient_vla.openvla.folder import read_folder
from efficient_vla.settings import InvalidSettingError


def test_the_key_chooses_among_several_datasets(folder):
    groups = read_folder(folder).groups
    scale = scale_of(choose(groups, 'bridge_orig', folder).action, 'bounds_q99', 'actions', folder)
    assert np.allclose(scale.low, statistics(3)['action']['q01'])


@pytest.mark.parametrize('key', ['', 'libero'])
def test_without_a_fitting_key_the_datasets_are_named(folder, key):
    with pytest.raises(InvalidSettingError, match='bridge_orig, fractal20220817_data'):
        choose(read_folder(folder).groups, key, folder)


def test_fine_tuning_replaces_the_statistics_of_the_model(oft):
    groups = read_folder(oft).groups
    assert list(groups) == ['libero_spatial_no_noops']
    assert choose(groups, '', oft) is groups['libero_spatial_no_noops']


@pytest.mark.parametrize(
    ('bounds', 'names'), [('bounds_q99', ('q01', 'q99')), ('bounds', ('min', 'max'))]
)
def test_minus_one_and_one_are_the_limits_and_a_masked_column_stays(folder, bounds, names):
    told = statistics(3)['action']
    scale = scale_of(read_folder(folder).groups['bridge_orig'].action, bounds, 'actions', folder)
    ends = scale.restored(np.array([[-1.0] * 7, [1.0] * 7]))
    for row, name in zip(ends, names, strict=True):
        assert np.allclose(row[:6], told[name][:6])
    assert ends[:, 6].tolist() == [-1.0, 1.0]


def test_a_state_is_clipped_to_the_limits(folder):
    told = statistics(3)['proprio']
    scale = read_folder(folder).groups['bridge_orig'].proprio['bounds_q99']
    middle = (np.array(told['q01']) + np.array(told['q99'])) / 2
    assert np.allclose(scale.normalised(middle), 0, atol=1e-6)
    quarter = middle + (np.array(told['q99']) - middle) / 2
    assert np.allclose(scale.normalised(quarter), 0.5, atol=1e-6)
    assert scale.normalised(middle + 100).tolist() == [1.0] * 8


def broken(change: str) -> dict:
    group = statistics(3)
    if change == 'order':
        group['action']['q01'][0] = 50.0
    elif change == 'length':
        group['action']['q99'].pop()
    elif change == 'mask':
        group['action']['mask'] = [1, 1, 1, 1, 1, 1, 0]
    elif change == 'nan':
        group['action']['q99'][2] = float('nan')
    elif change == 'words':
        group['action']['q99'][2] = 'far'
    elif change == 'action':
        del group['action']
    return group


@pytest.mark.parametrize('change', ['order', 'length', 'mask', 'nan', 'words', 'action'])
def test_damaged_statistics_are_refused(copied, change):
    (copied / 'dataset_statistics.json').write_text(json.dumps({'bridge_orig': broken(change)}))
    with pytest.raises(CheckpointError, match='bridge_orig'):
        read_folder(copied)


def test_a_normalisation_without_its_statistics_is_refused(copied):
    group = statistics(3)
    del group['action']['q01']
    (copied / 'dataset_statistics.json').write_text(json.dumps({'a': group}))
    with pytest.raises(CheckpointError, match='q01 and q99 of actions'):
        scale_of(read_folder(copied).groups['a'].action, 'bounds_q99', 'actions', copied)
