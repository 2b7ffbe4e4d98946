# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder of Florence-2 is a trunk: its tower and its encoder give what the stock classes give."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_policy import CARD
from transformers import AutoModelForImageTextToText, BartConfig, Florence2Config

from efficient_vla import checkpoint
from efficient_vla.cli import main
from efficient_vla.errors import CheckpointError
from efficient_vla.policy import Policy
from efficient_vla.sim.metaworld.tasks import TASKS
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.train import train_tokenizer

SIDE, TOKENS = 64, 4
VISION = {
    'depths': (1, 1),
    'patch_size': (7, 3),
    'patch_stride': (8, 4),
    'patch_padding': (3, 1),
    'patch_prenorm': (False, True),
    'embed_dim': (16, 32),
    'num_heads': (2, 4),
    'num_groups': (2, 4),
    'window_size': 2,
    'projection_dim': 32,
    'max_position_embeddings': 4,
}


@pytest.fixture(scope='module')
def stock(tmp_path_factory):
    """Let the full class save itself; return the folder and the model."""
    torch.manual_seed(0)
    text = BartConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        vocab_size=400,
        max_position_embeddings=128,
        dropout=0.0,
        pad_token_id=0,
    )
    config = Florence2Config(vision_config=VISION, text_config=text, image_token_id=399)
    model = AutoModelForImageTextToText.from_config(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    folder = tmp_path_factory.mktemp('florence')
    model.save_pretrained(folder)
    train_tokenizer(['open the drawer'] * 3, 300).save_pretrained(folder)
    processor = {'image_mean': [0.4, 0.5, 0.6], 'image_std': [0.2, 0.3, 0.4]}
    (folder / 'preprocessor_config.json').write_text(json.dumps(processor))
    return folder, model


@pytest.fixture(scope='module')
def policy(stock, tmp_path_factory):
    """Train queries and heads beside the model for two steps."""
    folder = shutil.copytree(stock[0], tmp_path_factory.mktemp('policy') / 'florence')
    data = tmp_path_factory.mktemp('demonstrations')
    rng = np.random.default_rng(0)
    np.savez(
        data / f'{TASKS[0]}.{TASKS[0]}.00000.npz',
        seed=0,
        image=rng.integers(0, 255, (10, 144, 144, 3), np.uint8),
        state=rng.normal(0, 0.1, (10, 4)).astype(np.float32),
        chunk=np.full((10, 40, 4), 0.004, np.float32),
        labels=np.zeros((10, 9), np.float32),
        step=np.arange(10, dtype=np.int32) * 4,
    )
    words = ['--vlm', str(folder), '--data', str(data), '--out', str(folder / 'run')]
    fixed = ['--precision', 'fp32', '--batch', '4', f'--image-size={SIDE}', '--steps=2', '--rank=2']
    assert main(['train', '--device', 'cpu', *words, *fixed]) == 0
    return folder


@torch.inference_mode()
def test_tower_and_trunk_give_what_the_stock_encoder_gives(stock, tmp_path):
    folder, model = shutil.copytree(stock[0], tmp_path / 'own'), stock[1]
    config, family = checkpoint.open_model(folder)
    tower = checkpoint.tower_of(folder, config, family, torch.float32)
    trunk = checkpoint.trunk_of(folder, config, family, CARD.queries, torch.float32)
    pixels, text = torch.randn(1, 3, SIDE, SIDE), torch.tensor([[3, 7, 5, 11]])
    features = model.model.get_image_features(pixels).pooler_output[:, 1:]
    torch.testing.assert_close(tower(pixels), features, atol=1e-5, rtol=1e-5)
    assert tower.patch_size == SIDE // 2
    _, result = trunk(features, torch.arange(TOKENS)[None], text, text > 0, TOKENS)
    encoder = model.model.language_model.encoder
    read = torch.cat([features, encoder.embed_tokens(text)], 1)
    expected = encoder(inputs_embeds=read).last_hidden_state
    found = result.hidden[:, : TOKENS + text.shape[1]]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_loaded_policy_plans_as_it_was_trained(policy):
    frozen = Frozen(policy, torch.device('cpu'), 'fp32')
    acting = Policy.from_pretrained(policy, device='cpu', architecture='single')
    image = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    assert acting.act(image, 'open the drawer', state=[0.0] * 4).actions.shape == (40, 4)
    with torch.inference_mode():
        tokens = frozen.tower(frozen.pixels(torch.from_numpy(image)[None], False))
        dense = frozen.dense_plan(tokens, *frozen.text(['Open the drawer']))
    np.testing.assert_allclose(acting._plan.latents, dense[0].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    'keywords',
    [
        {'pruning_method': 'fastv', 'pruning_layer': 1},
        {'reuse_method': 'vla_cache'},
        {'depth_method': 'truncate', 'depth_layers': 1},
        {'quantization_mode': 'int8_weight', 'perception_quantization_mode': 'int8_weight'},
        {'cache_method': 'reuse'},
    ],
)
def test_techniques_run_on_it(policy, keywords):
    acting = Policy.from_pretrained(policy, device='cpu', architecture='single', **keywords)
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        chunk = acting.act(image, 'open the drawer', state=[0.0] * 4)
        assert np.isfinite(chunk.actions).all()


def test_an_encoder_of_other_depth_is_refused(policy, tmp_path):
    folder = shutil.copytree(policy, tmp_path / 'own')
    config = json.loads((folder / 'config.json').read_text())
    config['text_config']['encoder_layers'] = 3
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match='does not fit the architecture'):
        checkpoint.load_trunk(folder)


def test_a_tower_that_lacks_a_stage_is_refused(policy, tmp_path):
    folder = shutil.copytree(policy, tmp_path / 'own')
    tensors = load_file(folder / 'model.safetensors')
    left = {name: tensor for name, tensor in tensors.items() if '.blocks.1.' not in name}
    assert len(left) < len(tensors)
    save_file(left, folder / 'model.safetensors', {'format': 'pt'})
    with pytest.raises(CheckpointError, match='does not fit the architecture'):
        checkpoint.load_tower(folder)
