# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""`train --vlm` makes a policy of a folder that the full class of a model wrote."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForImageTextToText,
    LlamaConfig,
    Qwen2_5_VLConfig,
    SmolVLMConfig,
)

from efficient_vla import checkpoint
from efficient_vla.cli import main
from efficient_vla.errors import CheckpointError
from efficient_vla.image_processor import image_normalisation
from efficient_vla.policy import Policy
from efficient_vla.sim.metaworld.tasks import TASKS
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.train import train_tokenizer

TEXT = {
    'hidden_size': 32,
    'intermediate_size': 48,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'num_key_value_heads': 1,
    'vocab_size': 400,
}


def smolvlm() -> SmolVLMConfig:
    vision = {
        'hidden_size': 32,
        'intermediate_size': 48,
        'num_hidden_layers': 1,
        'num_attention_heads': 2,
        'image_size': 48,
        'patch_size': 12,
    }
    return SmolVLMConfig(
        vision_config=vision, text_config=LlamaConfig(**TEXT), scale_factor=2, image_token_id=399
    )


def qwen2_5_vl() -> Qwen2_5_VLConfig:
    vision = {
        'depth': 1,
        'hidden_size': 32,
        'intermediate_size': 48,
        'num_heads': 2,
        'patch_size': 8,
        'window_size': 16,
        'fullatt_block_indexes': [0],
        'out_hidden_size': 32,
    }
    rope = {'rope_type': 'default', 'rope_theta': 1e4, 'mrope_section': [2, 3, 3]}
    return Qwen2_5_VLConfig(
        vision_config=vision, text_config={**TEXT, 'rope_parameters': rope}, image_token_id=399
    )


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return demonstrations(tmp_path_factory.mktemp('demonstrations'), 144)


def demonstrations(path: Path, rows: int) -> Path:
    rng = np.random.default_rng(0)
    for index in range(2):
        np.savez(
            path / f'{TASKS[0]}.{TASKS[0]}.{index:05d}.npz',
            seed=index,
            image=rng.integers(0, 255, (10, rows, 144, 3), np.uint8),
            state=rng.normal(0, 0.1, (10, 4)).astype(np.float32),
            chunk=np.full((10, 40, 4), 0.004, np.float32),
            labels=np.zeros((10, 9), np.float32),
            step=np.arange(10, dtype=np.int32) * 4,
        )
    return path


@pytest.fixture(params=[smolvlm, qwen2_5_vl])
def vlm(request, tmp_path) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / 'vlm'
    AutoModelForImageTextToText.from_config(request.param()).save_pretrained(folder)
    train_tokenizer(['open the drawer'] * 3, 300).save_pretrained(folder)
    processor = {'image_mean': [0.4, 0.5, 0.6], 'image_std': [0.2, 0.3, 0.4]}
    (folder / 'preprocessor_config.json').write_text(json.dumps(processor))
    return folder


def train(vlm: Path, data: Path, out: Path, steps: int, *more: str) -> int:
    words = ['--vlm', str(vlm), '--data', str(data), '--out', str(out), '--device', 'cpu']
    fixed = ['--precision', 'fp32', '--batch', '4', '--image-size', '48', f'--steps={steps}']
    return main(['train', *words, *fixed, *more])


@pytest.mark.parametrize('rank', ['0', '2'])
def test_a_model_becomes_a_policy_that_acts_and_goes_on_training(vlm, data, tmp_path, rank):
    before = {path: path.read_bytes() for path in vlm.iterdir()}
    assert train(vlm, data, tmp_path / 'out', 20, '--rank', rank) == 0
    assert {path: path.read_bytes() for path in before} == before
    card = checkpoint.read_card(vlm)
    assert (card.image_size, card.image_mean) == (48, (0.4, 0.5, 0.6))
    policy = Policy.from_pretrained(vlm, device='cpu', architecture='single')
    image = np.random.default_rng(1).integers(0, 255, (144, 144, 3), np.uint8)
    chunk = policy.act(image, 'open the drawer', state=[0.0] * 4)
    assert chunk.actions.shape == (40, 4)
    first = checkpoint.load_trunk(vlm)[1]
    assert train(vlm, data, tmp_path / 'out', 22, '--rank', rank) == 0
    second = checkpoint.load_trunk(vlm)[1]
    assert not torch.equal(first.queries, second.queries)
    changed = any(
        not torch.equal(a, b)
        for a, b in zip(first.decoder.parameters(), second.decoder.parameters(), strict=True)
    )
    assert changed == (rank != '0')


def test_a_loaded_policy_plans_as_it_was_trained(vlm, data, tmp_path):
    """Positions, text and pixels of training are those of the stages."""
    assert train(vlm, data, tmp_path / 'out', 3, '--rank', '2') == 0
    frozen = Frozen(vlm, torch.device('cpu'), 'fp32')
    policy = Policy.from_pretrained(vlm, device='cpu')
    image = np.random.default_rng(1).integers(0, 255, (48, 48, 3), np.uint8)
    policy.act(image, 'open the drawer', state=[0.0] * 4)
    with torch.inference_mode():
        tokens = frozen.tower(frozen.pixels(torch.from_numpy(image)[None], False))
        dense = frozen.dense_plan(tokens, *frozen.text(['Open the drawer']))
    np.testing.assert_allclose(policy._plan.latents, dense[0].numpy(), atol=1e-5)


def test_a_policy_on_tiles_or_a_rectangle_plans_as_it_was_trained(vlm, tmp_path):
    path = vlm / 'preprocessor_config.json'
    sizes = {'size': {'longest_edge': 96}, 'max_image_size': {'longest_edge': 48}}
    if json.loads((vlm / 'config.json').read_text())['model_type'] == 'qwen2_5_vl':
        sizes = {'patch_size': 8, 'min_pixels': 256, 'max_pixels': 32 * 48}
    path.write_text(json.dumps(json.loads(path.read_text()) | sizes))
    (tmp_path / 'wide').mkdir()
    data = demonstrations(tmp_path / 'wide', 96)
    assert train(vlm, data, tmp_path / 'out', 3, '--images', 'own') == 0
    card = checkpoint.read_card(vlm)
    assert card.image_shape == (96, 144)
    assert card.tokens_per_camera == (2 * 3 if 'patch_size' in sizes else (2 * 2 + 1) * 4)
    frozen = Frozen(vlm, torch.device('cpu'), 'fp32')
    policy = Policy.from_pretrained(vlm, device='cpu')
    image = np.random.default_rng(1).integers(0, 255, (96, 144, 3), np.uint8)
    policy.act(image, 'open the drawer', state=[0.0] * 4)
    with torch.inference_mode():
        tokens = frozen.visual(torch.from_numpy(image)[None], False)
        dense = frozen.dense_plan(tokens, *frozen.text(['Open the drawer']))
    np.testing.assert_allclose(policy._plan.latents, dense[0].numpy(), atol=1e-4)
    fast = frozen.pixels(torch.from_numpy(image)[None], False)[0]
    assert fast.shape == (3, 48, 48)
    black = -np.array(card.image_mean) / card.image_std
    np.testing.assert_allclose(fast[:, 0, 0].numpy(), black, rtol=1e-5)


def test_a_policy_that_is_there_is_not_replaced_unless_told(vlm, data, tmp_path, capsys):
    assert train(vlm, data, tmp_path / 'out', 1) == 0
    kept = (vlm / 'policy.safetensors').read_bytes()
    assert train(vlm, data, tmp_path / 'other', 1) != 0
    assert 'holds a policy already' in ' '.join(capsys.readouterr().err.split())
    assert (vlm / 'policy.safetensors').read_bytes() == kept
    assert train(vlm, data, tmp_path / 'other', 1, '--restart', '--seed', '7') == 0
    assert (vlm / 'policy.safetensors').read_bytes() != kept


@pytest.mark.parametrize(
    ('missing', 'expected'),
    [
        ('config.json', 'has no config.json'),
        ('preprocessor_config.json', 'no preprocessor_config.json with image_mean'),
        ('tokenizer.json', 'tokenizer.json is missing'),
        ('model.safetensors', 'model.safetensors is missing'),
    ],
)
def test_a_folder_that_lacks_a_file_is_named(vlm, data, tmp_path, capsys, missing, expected):
    (vlm / missing).unlink()
    assert train(vlm, data, tmp_path / 'out', 1) != 0
    assert expected in ' '.join(capsys.readouterr().err.split())
    assert not (vlm / 'policy.json').exists()


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'do_normalize': False}, 'do_normalize False; expected True'),
        ({'do_rescale': False}, 'do_rescale False; expected True'),
        ({'rescale_factor': 1 / 127.5}, 'rescale_factor 0.00784'),
        ({'image_mean': None}, 'image_mean None; expected a list of 3 finite numbers'),
        ({'image_mean': 0.5}, 'image_mean 0.5; expected a list of 3'),
        ({'image_mean': [0.5]}, 'image_mean [0.5]; expected a list of 3'),
        ({'image_std': ['a', 'a', 'a']}, "image_std ['a', 'a', 'a']; expected a list of 3"),
        ({'image_std': [0.5, float('nan'), 0.5]}, 'image_std [0.5, nan, 0.5]; expected'),
        ({'image_std': [0.5, 0.0, 0.5]}, 'image_std [0.5, 0.0, 0.5]; expected'),
    ],
)
def test_a_processor_that_prepares_images_in_another_way_is_refused(tmp_path, change, expected):
    given = {'image_mean': [0.4, 0.5, 0.6], 'image_std': [0.2, 0.3, 0.4]}
    usual = {'do_rescale': True, 'rescale_factor': 0.00392156862745098, 'do_normalize': True}
    path = tmp_path / 'preprocessor_config.json'
    for fields in (given, given | usual):
        path.write_text(json.dumps(fields))
        assert image_normalisation(tmp_path) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    path.write_text(json.dumps(given | usual | change))
    with pytest.raises(CheckpointError, match=re.escape(expected)):
        image_normalisation(tmp_path)
