# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy folder: what is loaded is what was saved, and damage is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from efficient_vla import checkpoint
from efficient_vla.errors import CheckpointError
from efficient_vla.policy import Policy


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / 'policy'))


def test_stages_together_hold_every_saved_tensor(folder):
    _, tower = checkpoint.load_tower(folder)
    _, trunk, _ = checkpoint.load_trunk(folder)
    loaded = sum(p.numel() for part in (tower, trunk) for p in part.parameters())
    for name in ('single', 'dual'):
        loaded += sum(p.numel() for p in checkpoint.load_head(folder, name)[1].parameters())
    with safe_open(folder / 'model.safetensors', 'pt') as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    statistics = ('running_mean', 'running_var', 'num_batches_tracked')
    saved = sum(t.numel() for n, t in tensors.items() if not n.endswith(statistics))
    assert loaded == saved


def test_saved_and_loaded_tower_give_the_same_tokens(folder):
    pixels = torch.rand(1, 3, 144, 144)
    with torch.inference_mode():
        first = checkpoint.load_tower(folder)[1](pixels)
        second = checkpoint.load_tower(folder)[1](pixels)
    assert first.shape == (1, 144, 64)
    assert torch.equal(first, second)
    assert np.isfinite(first.numpy()).all()


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match='nowhere'):
        Policy.from_pretrained(tmp_path / 'nowhere')


def test_missing_weights_are_named(damaged):
    (damaged / 'model.safetensors').unlink()
    with pytest.raises(CheckpointError, match=r'model\.safetensors is missing'):
        Policy.from_pretrained(damaged)


def test_truncated_weights_are_named(damaged):
    path = damaged / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match='truncated'):
        Policy.from_pretrained(damaged)


def test_weights_of_another_architecture_are_refused(damaged):
    config = json.loads((damaged / 'config.json').read_text())
    config['text_config']['num_hidden_layers'] = 9
    (damaged / 'config.json').write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match='does not fit the architecture'):
        Policy.from_pretrained(damaged)


def test_weights_without_fitting_queries_are_refused(damaged):
    weights = damaged / 'model.safetensors'
    tensors = load_file(weights)
    save_file({**tensors, 'queries': torch.zeros(3, 2)}, weights)
    with pytest.raises(CheckpointError, match=r'holds \[3, 2\] as queries; expected'):
        checkpoint.load_trunk(damaged)
    del tensors['queries']
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match='holds none as queries'):
        checkpoint.load_trunk(damaged)


@pytest.mark.parametrize('name', ['queries', 'text_model.embed_tokens.weight'])
def test_weights_that_are_not_finite_are_named(damaged, name):
    weights = damaged / 'model.safetensors'
    tensors = load_file(weights)
    tensors[name][0, :3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match=rf'model\.safetensors holds 3 values in {name}'):
        checkpoint.load_trunk(damaged)


def test_unsupported_model_type_is_refused(damaged):
    (damaged / 'config.json').write_text(json.dumps({'model_type': 'bert'}))
    with pytest.raises(CheckpointError, match='bert'):
        Policy.from_pretrained(damaged)


def test_a_model_type_that_is_a_list_is_refused(damaged):
    (damaged / 'config.json').write_text(json.dumps({'model_type': ['smolvlm']}))
    with pytest.raises(CheckpointError, match=r"model of type \['smolvlm'\]; expected one of"):
        checkpoint.load_tower(damaged)


@pytest.mark.parametrize('name', ['policy.json', 'config.json'])
def test_a_folder_in_the_place_of_a_file_is_named(damaged, name):
    (damaged / name).unlink()
    (damaged / name).mkdir()
    with pytest.raises(CheckpointError, match=f'{name} is not JSON: .*directory'):
        Policy.from_pretrained(damaged)


def test_card_that_is_not_json_is_refused(damaged):
    (damaged / 'policy.json').write_text('{')
    with pytest.raises(CheckpointError, match='not JSON'):
        Policy.from_pretrained(damaged)


@pytest.mark.parametrize(
    ('field', 'value', 'expected'),
    [
        ('horizon', '40', "horizon is '40' of type str; expected int"),
        ('state_mean', [0.0, 0.6, 0.2], r'state_mean is \[0\.0, 0\.6, 0\.2\]; expected 4 numbers'),
        ('state_mean', [0.0, 0.6, None, 1.0], r'state_mean\[2\] is None .*expected float'),
        ('state_names', 'xyz', "state_names is 'xyz'; expected a list"),
        ('dt', 0, r'dt is 0\.0; expected 0\.0005 to 60\.0 s'),
        ('dt', 100.0, r'dt is 100\.0; expected 0\.0005 to 60\.0 s'),
        ('horizon', 600, 'horizon is 600; expected 1 to 512 rows'),
        ('cameras', [], r'cameras is \[\]; expected one name or more'),
        (
            'cameras',
            ['a', 'a'],
            r"cameras is \['a', 'a'\]; expected one name or more, none empty or twice",
        ),
        (
            'state_names',
            ['x', 'x', 'z', 'gripper'],
            'state_names is .* none empty or twice',
        ),
        ('action_names', ['x', '', 'z', 'gripper'], 'action_names is .* none empty'),
        ('action_scale', [0.01, 0, 0.01, 1.0], r'action_scale is \[0\.01, 0\.0, .* expected no 0'),
        (
            'action_scale',
            [0.01, 1e39, 0.01, 1.0],
            'action_scale is .*; expected finite float32 numbers',
        ),
        (
            'action_scale',
            [0.01, float('nan'), 0.01, 1.0],
            r'action_scale\[1\] is nan; expected a fin',
        ),
        ('state_std', [0.1, 0.1, 1e-60, 0.5], 'state_std is .*; expected more than 0'),
        ('image_size', 150, 'image_size is 150 .*; expected a multiple of 12 pixels'),
        ('image_size', 156, r'image_size is 156 .*; expected .* it makes (0|169)\.'),
        (
            'tokens_per_camera',
            100,
            'image_size is 144 and tokens_per_camera 100; expected .* it makes 144',
        ),
        ('control_mode', 'UNKNOWN', "control_mode is 'UNKNOWN'; expected one of EE_DELTA"),
        ('state_std', [0.1, 0.1, 0.0, 0.5], 'state_std is .*; expected more than 0'),
        ('queries', 10**9, 'queries is 1000000000; expected 1 to 4096 rows'),
        ('image_size', 10**30, 'image_size is 10{30}; expected 1 to 4096 pixels'),
        ('tokens_per_camera', 10**9, 'tokens_per_camera is 1000000000; expected 1 to 4096'),
        ('queries', 0, 'queries is 0; expected 1 to 4096'),
        ('stem', 'convolution', "stem is 'convolution'; expected one of patch, conv"),
        ('control_mode', 'EE', "control_mode is 'EE'; expected one of .*EE_DELTA"),
    ],
)
def test_a_field_of_the_card_that_cannot_be_is_named(damaged, field, value, expected):
    path = damaged / 'policy.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(CheckpointError, match=rf'policy\.json does not fit: {expected}'):
        Policy.from_pretrained(damaged)


def test_a_position_that_is_no_part_of_the_state_is_named(damaged):
    path = damaged / 'policy.json'
    card = json.loads(path.read_text())
    changed = {'control_mode': 'EE_POSITION', 'action_names': ['x', 'y', 'tilt', 'gripper']}
    path.write_text(json.dumps(card | changed))
    with pytest.raises(CheckpointError, match='tilt is in action_names and not in state_names'):
        Policy.from_pretrained(damaged)


@pytest.mark.parametrize('text', ['[]', '{"model_type": "smolvlm", "text_config": 5}'])
def test_a_damaged_configuration_is_named(damaged, text):
    (damaged / 'config.json').write_text(text)
    with pytest.raises(CheckpointError, match=r'config\.json (holds a list|describes no model)'):
        Policy.from_pretrained(damaged)


@pytest.mark.parametrize('text', ['{', '{}'])
def test_a_damaged_tokenizer_is_named(damaged, text):
    (damaged / 'tokenizer.json').write_text(text)
    with pytest.raises(CheckpointError, match=r'tokenizer\.json is no tokenizer'):
        Policy.from_pretrained(damaged)


def test_missing_tokenizer_is_named(damaged):
    (damaged / 'tokenizer.json').unlink()
    with pytest.raises(CheckpointError, match='tokenizer'):
        Policy.from_pretrained(damaged)
