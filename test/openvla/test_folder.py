# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the files of a folder say, and folders that cannot be right."""

import json

import pytest
import torch
from tiny_openvla import CONFIG, PROCESSOR, TEXT

from efficient_vla.errors import CheckpointError
from efficient_vla.openvla.folder import read_folder


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_says_what_it_is(folder, oft):
    found = read_folder(folder)
    assert (found.oft, found.bins, found.unused, found.images.size) == (False, 256, 64, 42)
    assert found.images.means[0] == (0.485, 0.456, 0.406)
    assert read_folder(oft).oft
    assert read_folder(oft).proprio_projector is not None


def test_every_tensor_of_the_index_is_found(folder, weights):
    entries = read_folder(folder).entries()
    assert {n: list(e.shape) for n, (_, e) in entries.items()} == {
        name: list(value.shape) for name, value in weights.items()
    }
    assert len({path for path, _ in entries.values()}) == 2


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'vision_backbone_id': 'siglip-vit-so400m'}, 'siglip-vit-so400m'),
        ({'use_fused_vision_backbone': False}, 'fused'),
        ({'text_config': TEXT | {'model_type': 'mistral'}}, 'mistral'),
        ({'text_config': None}, 'text_config'),
        ({'n_action_bins': 0}, 'n_action_bins'),
        ({'pad_to_multiple_of': '64'}, 'pad_to_multiple_of'),
        ({'norm_stats': {}}, 'norm_stats'),
        ({'image_sizes': [42, 56]}, 'image_sizes'),
    ],
)
def test_a_configuration_of_something_else_is_refused(copied, changes, message):
    rewrite(copied / 'config.json', **changes)
    with pytest.raises(CheckpointError, match=message):
        read_folder(copied)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'image_resize_strategy': 'stretch'}, 'stretch'),
        ({'interpolations': ['bicubic', 'nearest']}, 'nearest'),
        ({'input_sizes': [[3, 42, 42]]}, 'input_sizes'),
        ({'input_sizes': [[3, 42, 42], [3, 56, 56]]}, 'input_sizes'),
        ({'means': [[0.5, 0.5], [0.5, 0.5, 0.5]]}, 'means'),
        ({'stds': [[0.5, 0.0, 0.5], [0.5, 0.5, 0.5]]}, 'stds'),
        ({'stds': 'none'}, 'does not fit'),
    ],
)
def test_a_processor_that_no_two_towers_have_is_refused(copied, changes, message):
    rewrite(copied / 'preprocessor_config.json', **changes)
    with pytest.raises(CheckpointError, match=message):
        read_folder(copied)


@pytest.mark.parametrize('name', ['config.json', 'preprocessor_config.json'])
def test_a_missing_or_cut_file_is_named(copied, name):
    text = (copied / name).read_text()
    (copied / name).write_text(text[: len(text) // 2])
    with pytest.raises(CheckpointError, match=name):
        read_folder(copied)
    (copied / name).unlink()
    with pytest.raises(CheckpointError, match=f'{name} is missing'):
        read_folder(copied)


@pytest.mark.parametrize(
    ('part', 'message'), [('vision_backbone', 'FiLM'), ('noisy_action_projector', 'noise')]
)
def test_parts_that_are_not_supported_are_refused_by_name(copied, part, message):
    torch.save({}, copied / f'{part}--10_checkpoint.pt')
    with pytest.raises(CheckpointError, match=message):
        read_folder(copied)


def test_two_heads_of_different_steps_are_refused(copied):
    for step in ('10', 'latest'):
        torch.save({}, copied / f'action_head--{step}_checkpoint.pt')
    with pytest.raises(CheckpointError, match='expected one action_head'):
        read_folder(copied)


def test_an_adapter_without_its_model_is_refused(copied):
    for file in copied.glob('model*'):
        file.unlink()
    (copied / 'lora_adapter').mkdir()
    with pytest.raises(CheckpointError, match='merge'):
        read_folder(copied).entries()


def test_a_shard_that_is_missing_cut_or_other_than_the_index_says_is_named(copied):
    shard = copied / 'model-00002-of-00002.safetensors'
    content = shard.read_bytes()
    shard.write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match='model-00002-of-00002'):
        read_folder(copied).entries()
    shard.write_bytes((copied / 'model-00001-of-00002.safetensors').read_bytes())
    with pytest.raises(CheckpointError, match='lacks'):
        read_folder(copied).entries()
    shard.unlink()
    with pytest.raises(CheckpointError, match='is missing'):
        read_folder(copied).entries()


def test_an_index_reaches_no_file_outside_of_the_folder(copied):
    rewrite(copied / 'model.safetensors.index.json', weight_map={'a': '../other.safetensors'})
    with pytest.raises(CheckpointError, match='inside the folder'):
        read_folder(copied).entries()


def test_unknown_fields_do_not_matter(copied):
    rewrite(copied / 'config.json', **CONFIG, newer_field=3)
    rewrite(copied / 'preprocessor_config.json', **PROCESSOR, newer_field=3)
    assert read_folder(copied).images.strategy == 'resize-naive'
