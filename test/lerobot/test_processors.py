# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Between robot and policy, each value is what LeRobot's own processors make of it."""

import numpy as np
import pytest
import torch
from lerobot_folders import FIXTURES, FOLDERS, normalise_by, observation, reference, rewrite
from safetensors.torch import load_file, save_file

from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.folder import open_folder
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import InvalidRecordError


@pytest.mark.parametrize('name', FOLDERS)
def test_an_observation_becomes_what_lerobot_makes_of_it(name):
    expected = {
        key.removeprefix('processed.'): value
        for key, value in reference(name).items()
        if key.startswith('processed.')
    }
    batch = open_folder(FIXTURES / name).preprocess(observation(name))
    for key, value in expected.items():
        assert batch[key].numpy().dtype == value.dtype, key
        np.testing.assert_allclose(batch[key].numpy(), value, atol=1e-6, err_msg=key)


@pytest.mark.parametrize('name', FOLDERS)
def test_a_chunk_comes_back_in_the_units_of_the_dataset(name):
    folder, found = open_folder(FIXTURES / name), reference(name)
    batch = folder.preprocess(observation(name))
    actions = folder.postprocess(torch.from_numpy(found['chunk']), batch)
    np.testing.assert_allclose(actions.numpy(), found['actions'], rtol=1e-6, atol=1e-5)


def test_cameras_have_the_names_of_the_robot_and_the_order_of_the_policy():
    folder = open_folder(FIXTURES / 'smolvla_base')
    assert folder.camera_names == ('top', 'wrist', 'camera3')
    assert list(folder.cameras.values()) == [f'observation.images.camera{n}' for n in (1, 2, 3)]


def test_what_is_not_given_is_not_made_up():
    batch = open_folder(FIXTURES / 'pi05').preprocess({'task': 'wait'})
    assert 'observation.state' not in batch
    state = observation('pi05')['observation.state']
    assert set(open_folder(FIXTURES / 'act').preprocess({'observation.state': state})) == {
        'observation.state'
    }


@pytest.mark.parametrize(
    ('key', 'value', 'expected'),
    [
        ('observation.state', np.zeros(5, np.float32), r'shape \[5\]; the policy expects \[6\]'),
        ('observation.images.front', np.zeros((48, 64, 3)), r'float64 .*expected uint8'),
        ('observation.images.front', np.zeros((3, 48, 64), np.uint8), r'\(3, 48, 64\); expected'),
    ],
)
def test_an_observation_of_another_shape_is_refused(key, value, expected):
    with pytest.raises(InvalidRecordError, match=expected):
        open_folder(FIXTURES / 'act').preprocess({key: value})


def test_relative_actions_leave_out_the_joints_that_are_named(copied):
    folder = copied('pi05')
    chunk = torch.zeros(1, 1, 6)
    opened = open_folder(folder)
    batch = opened.preprocess(observation('pi05'))
    moved = opened.postprocess(chunk, batch)[0, 0]

    def all_relative(file):
        file['steps'][2]['config']['exclude_joints'] = []

    rewrite(folder, 'policy_preprocessor.json', all_relative)
    opened = open_folder(folder)
    difference = opened.postprocess(chunk, batch)[0, 0] - moved
    state = observation('pi05')['observation.state']
    assert difference[:5].abs().max() == 0
    assert difference[5] == pytest.approx(state[5], rel=1e-5)


def test_absolute_actions_need_the_relative_ones_before(copied):
    folder = copied('pi05')
    rewrite(folder, 'policy_preprocessor.json', lambda file: file['steps'].pop(2))
    with pytest.raises(CheckpointError, match='expected relative_actions_processor'):
        open_folder(folder)


def test_an_unknown_step_is_named(copied):
    folder = copied('act')
    rewrite(
        folder,
        'policy_preprocessor.json',
        lambda file: file['steps'].append({'registry_name': 'crop_by_magic', 'config': {}}),
    )
    with pytest.raises(CheckpointError, match="step 'crop_by_magic'; expected some of rename_obs"):
        open_folder(folder)


def test_unknown_fields_are_ignored(copied):
    folder = copied('act')
    rewrite(folder, 'config.json', lambda config: config.update(brand_new_option={'a': [1]}))
    assert open_folder(folder).type == 'act'


@pytest.mark.parametrize('mode', ['MEAN_STD', 'MIN_MAX', 'QUANTILES', 'QUANTILE10'])
def test_each_mode_reads_its_own_two_statistics(copied, mode):
    folder = copied('act')
    normalise_by(folder, {'STATE': mode, 'ACTION': mode})
    opened = open_folder(folder)
    held = load_file(next(folder.glob('policy_pre*.safetensors')))
    first, second = {
        'MEAN_STD': ('mean', 'std'),
        'MIN_MAX': ('min', 'max'),
        'QUANTILES': ('q01', 'q99'),
        'QUANTILE10': ('q10', 'q90'),
    }[mode]
    low, high = held[f'observation.state.{first}'], held[f'observation.state.{second}']
    at = low + high if mode == 'MEAN_STD' else high
    one = opened.preprocess({'observation.state': at.numpy()})['observation.state']
    np.testing.assert_allclose(one.numpy(), 1, rtol=1e-5)
    action = held[f'action.{first}'] if mode == 'MEAN_STD' else held[f'action.{second}']
    chunk = torch.zeros(1, 2, 6) if mode == 'MEAN_STD' else torch.ones(1, 2, 6)
    np.testing.assert_allclose(opened.postprocess(chunk, {})[0, 1], action, rtol=1e-5)


def test_a_joint_that_never_moved_is_divided_by_eps(copied):
    folder = copied('diffusion')
    for path in folder.glob('policy_*.safetensors'):
        held = load_file(path)
        held['observation.state.max'][2] = held['observation.state.min'][2]
        save_file(held, path)
    state = held['observation.state.min'].clone()
    opened = open_folder(folder)
    at = opened.preprocess({'observation.state': state.numpy()})['observation.state'][0]
    assert at.tolist() == [-1.0] * 6
    state[2] += 1
    at = opened.preprocess({'observation.state': state.numpy()})['observation.state'][0]
    assert at[2] == pytest.approx(2e8, rel=1e-3)


def grouped(folder, *groups):
    """Rewrite the statistics of a folder as those of several datasets."""
    for path in folder.glob('policy_*.safetensors'):
        held = {
            f'{group}.buffer.{name}': value + place
            for place, group in enumerate(groups)
            for name, value in load_file(path).items()
        }
        save_file(held, path)


def test_statistics_in_groups_need_the_name_of_one(copied):
    folder = copied('smolvla')
    grouped(folder, 'so100', 'koch')
    with pytest.raises(CheckpointError, match=r'in groups, koch, so100; .* parameter unnorm_key'):
        open_folder(folder)
    with pytest.raises(
        InvalidSettingError, match="unnorm_key is 'aloha'; expected one of koch, so100"
    ):
        open_folder(folder, unnorm_key='aloha')
    found = [open_folder(folder, unnorm_key=name) for name in ('so100', 'koch')]
    chunk = torch.zeros(1, 1, 6)
    first, second = (opened.postprocess(chunk, {}) for opened in found)
    np.testing.assert_allclose((second - first).numpy(), 1, rtol=1e-4)


def test_a_group_is_refused_where_there_are_none():
    with pytest.raises(InvalidSettingError, match="unnorm_key is 'so100'; expected ''"):
        open_folder(FIXTURES / 'smolvla', unnorm_key='so100')
