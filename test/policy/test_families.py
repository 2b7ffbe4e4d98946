# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders that the full classes of transformers wrote give what the full classes give."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import (
    TEXT,
    gemma3,
    idefics3,
    llava,
    llava_of_siglip,
    llava_with_a_window,
    paligemma,
    paligemma2,
    qwen2_5_vl,
    qwen3_vl,
    smolvlm,
)
from tiny_policy import CARD
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from efficient_vla import checkpoint
from efficient_vla.action.policies import DualPolicy, PolicyShape, SinglePolicy
from efficient_vla.cli.run_options import policy_folder
from efficient_vla.compression.quantization import quantize
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.families import FAMILIES
from efficient_vla.policy import Policy
from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.training.train import train_tokenizer
from efficient_vla.types import VisualTokens

MODELS = (
    smolvlm,
    idefics3,
    llava,
    llava_with_a_window,
    llava_of_siglip,
    paligemma,
    paligemma2,
    gemma3,
    qwen2_5_vl,
    qwen3_vl,
)
PRE_SHUFFLED = ('smolvlm', 'idefics3', 'qwen2_5_vl', 'qwen3_vl', 'gemma3')
"""Types whose connector makes one token of four patches."""


def write_policy(folder: Path, card: checkpoint.Card, queries: torch.Tensor) -> None:
    """Put queries, heads, card and tokenizer beside a model, without the package's own writer."""
    tensors = {'queries': queries}
    shape = PolicyShape(card.queries, TEXT['hidden_size'], 4, card.horizon, 4)
    for name, kind in (('single', SinglePolicy), ('dual', DualPolicy)):
        tensors |= {f'{name}.{k}': v for k, v in kind(shape).state_dict().items()}
    save_file(tensors, folder / 'policy.safetensors')
    (folder / 'policy.json').write_text(json.dumps(dataclasses.asdict(card)))
    train_tokenizer(['open the drawer'] * 3, 300).save_pretrained(folder)


@pytest.fixture(scope='module', params=['one file', 'shards'])
def layout(request) -> str:
    return request.param


@pytest.fixture(scope='module', params=MODELS)
def other(request, layout, tmp_path_factory):
    """Let the full class of a model save itself; return the folder and the model."""
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(request.param()).eval()
    for weight in model.parameters():
        # As they are made, layers hardly change what they are given.
        torch.nn.init.normal_(weight, std=0.2)
    folder = tmp_path_factory.mktemp('model')
    model.save_pretrained(folder, max_shard_size='1GB' if layout == 'one file' else '20KB')
    assert (len(list(folder.glob('model*.safetensors'))) > 1) == (layout == 'shards')
    tokens = 4 if model.config.model_type in PRE_SHUFFLED else 16
    card = dataclasses.replace(CARD, image_size=32, tokens_per_camera=tokens, stem='patch')
    write_policy(folder, card, torch.randn(card.queries, TEXT['hidden_size']))
    return folder, model


def image_of(model, pixels: torch.Tensor) -> dict:
    """Return the arguments that carry an image [1, 3, 32, 32] into the stock model."""
    kind = model.config.model_type
    if kind in ('qwen2_5_vl', 'qwen3_vl'):
        options = {'do_resize': False, 'do_rescale': False, 'do_normalize': False}
        processor = Qwen2VLImageProcessorPil(patch_size=8, **options)
        return dict(processor(pixels[0].numpy(), return_tensors='pt'))
    return {'pixel_values': pixels[None] if kind in ('smolvlm', 'idefics3') else pixels}


@torch.inference_mode()
def test_the_tower_gives_the_stock_image_features(other):
    folder, model = other
    pixels = torch.randn(1, 3, 32, 32)
    _, tower = checkpoint.load_tower(folder)
    stock = model.model.get_image_features(**image_of(model, pixels)).pooler_output
    torch.testing.assert_close(tower(pixels)[0, :, :24], stock[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('fused', [False, True])
@torch.inference_mode()
def test_tower_and_trunk_give_the_hidden_states_of_the_whole_stock_model(other, fused):
    folder, model = other
    pixels, text = torch.randn(1, 3, 32, 32), torch.tensor([[3, 7, 5, 11]])
    card, tower = checkpoint.load_tower(folder)
    _, trunk, _ = checkpoint.load_trunk(folder)
    if fused:
        trunk.parts.fuse()
    count = card.tokens_per_camera
    places = np.arange(count, dtype=np.int32)
    side = round(count**0.5)
    record = VisualTokens(
        features=tower(pixels)[0].numpy(),
        camera=np.zeros(count, np.int32),
        row=places // side,
        column=places % side,
        position=places,
        age=np.zeros(count, np.float32),
        grid=(side, side),
        stamp=0.0,
    )
    _, result = trunk(
        torch.from_numpy(record.features)[None],
        trunk.parts.visual_positions(record),
        text,
        torch.ones_like(text, dtype=torch.bool),
        trunk.parts.text_start(record, count),
    )
    ids = torch.cat([torch.full((1, count), 399), text], 1)
    kinds = (ids == 399).int()
    given = {
        'qwen2_5_vl': {'mm_token_type_ids': kinds},
        'qwen3_vl': {'mm_token_type_ids': kinds},
        'paligemma': {'token_type_ids': torch.zeros_like(ids)},
        'gemma3': {'token_type_ids': kinds},
    }.get(model.config.model_type, {})
    stock = model.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        **image_of(model, pixels),
        **given,
    ).last_hidden_state
    torch.testing.assert_close(result.hidden[:, : ids.shape[1]], stock, atol=1e-5, rtol=1e-5)


def test_the_whole_policy_acts(other, frame):
    policy = Policy.from_pretrained(other[0], pruning_method='fastv', pruning_layer=1)
    assert policy.act(frame, 'open the drawer').actions.shape == (5, 4)


@torch.inference_mode()
def test_half_precision_is_what_the_stock_loader_gives(other):
    folder, model = other
    kind = type(model.model)
    stock = kind.from_pretrained(folder, dtype=torch.bfloat16)
    _, trunk, _ = checkpoint.load_trunk(folder, torch.bfloat16)
    decoder = getattr(stock, FAMILIES[model.config.model_type].text)
    for name, weight in trunk.decoder.named_parameters():
        assert weight.dtype is torch.bfloat16
        assert torch.equal(weight, decoder.get_parameter(name))
    # The frequencies of positions stay in float32, as transformers keeps them.
    quantize(trunk.decoder, 'bf16')
    frequencies = {n: b for n, b in decoder.named_buffers() if n.endswith('inv_freq')}
    assert frequencies
    for name, frequency in frequencies.items():
        assert torch.equal(trunk.decoder.get_buffer(name), frequency)


@pytest.fixture
def changed(other, tmp_path) -> Path:
    """Copy a folder, to be damaged."""
    return Path(shutil.copytree(other[0], tmp_path / 'policy'))


def test_a_layer_too_many_or_too_few_is_refused(changed):
    path = changed / 'config.json'
    config = json.loads(path.read_text())
    for layers in (2, 4):
        wrong = config | {'text_config': config['text_config'] | {'num_hidden_layers': layers}}
        wrong['text_config'].pop('layer_types', None)
        path.write_text(json.dumps(wrong))
        with pytest.raises(CheckpointError, match='does not fit the architecture'):
            checkpoint.load_trunk(changed)


def test_a_missing_or_cut_file_is_named(changed):
    path = sorted(changed.glob('model*.safetensors'))[-1]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match='truncated or not safetensors'):
        Policy.from_pretrained(changed)
    path.unlink()
    with pytest.raises(CheckpointError, match=f'{path} is missing'):
        Policy.from_pretrained(changed)


def test_add_ons_belong_to_all_files_of_the_weights(changed):
    before = checkpoint.sha256(changed)
    for path in (*changed.glob('model*.safetensors'), changed / 'policy.safetensors'):
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert checkpoint.sha256(changed) != before
        path.write_bytes(data)
    assert checkpoint.sha256(changed) == before


def test_a_model_without_a_policy_names_the_command_that_trains_one(changed):
    command = f'efficient-vla train --vlm {changed} --data data/metaworld'
    (changed / 'policy.safetensors').unlink()
    with pytest.raises(CheckpointError, match=f'holds none as queries.*{command}'):
        checkpoint.load_trunk(changed)
    with pytest.raises(CheckpointError, match=f'holds no single.*{command}'):
        checkpoint.load_head(changed, 'single')
    (changed / 'policy.json').unlink()
    with pytest.raises(CheckpointError, match=f'no queries and no heads.*{command}'):
        Policy.from_pretrained(changed)


@pytest.mark.parametrize(
    ('config', 'expected'),
    [
        (
            {'model_type': 'blip_2'},
            "type 'blip_2'; expected one of florence2, gemma3, idefics3, llava",
        ),
        ({}, 'type None; expected one of florence2, gemma3'),
    ],
)
def test_a_folder_of_another_kind_is_named(tmp_path, config, expected):
    (tmp_path / 'config.json').write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=expected):
        Policy.from_pretrained(tmp_path)
    with pytest.raises(UsageError, match=expected):
        policy_folder(tmp_path)


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'vision_feature_layer': [-2, -1]}, r'vision_feature_layer \[-2, -1\]'),
        ({'vision_feature_layer': -4}, 'vision_feature_layer -4; expected one number from -3 to 2'),
        ({'vision_feature_layer': 3}, 'vision_feature_layer 3; expected one number from -3 to 2'),
        ({'vision_feature_select_strategy': 'full'}, "vision_feature_select_strategy 'full'"),
    ],
)
def test_features_of_several_layers_or_with_a_class_token_are_refused(tmp_path, change, expected):
    config = llava()
    for name, value in change.items():
        setattr(config, name, value)
    AutoModelForImageTextToText.from_config(config).save_pretrained(tmp_path)
    write_policy(tmp_path, dataclasses.replace(CARD, stem='patch'), torch.zeros(2, 24))
    with pytest.raises(CheckpointError, match=expected):
        checkpoint.load_tower(tmp_path)


@pytest.fixture(scope='module')
def small(tmp_path_factory) -> Path:
    """Return the folder of a policy on the smallest LLaVA."""
    folder = tmp_path_factory.mktemp('llava')
    AutoModelForImageTextToText.from_config(llava()).save_pretrained(folder)
    card = dataclasses.replace(CARD, image_size=32, tokens_per_camera=16, stem='patch')
    write_policy(folder, card, torch.zeros(card.queries, TEXT['hidden_size']))
    return folder


def reconfigured(small: Path, folder: Path, part: str, change: dict) -> Path:
    """Copy a folder and change a part of its configuration, all of it where ``part`` is empty."""
    folder = Path(shutil.copytree(small, folder / 'policy'))
    config = json.loads((folder / 'config.json').read_text())
    (config[part] if part else config).update(change)
    (folder / 'config.json').write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize('layer', [-3, 0, 2])
def test_the_first_and_last_hidden_states_can_be_chosen(small, tmp_path, layer):
    folder = reconfigured(small, tmp_path, '', {'vision_feature_layer': layer})
    assert checkpoint.load_tower(folder)[1](torch.zeros(1, 3, 32, 32)).shape == (1, 16, 24)


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'layer_types': ['sliding_attention'] * 3}, 'sliding_attention and no sliding_window'),
        ({'layer_types': ['chunked_attention'] * 3}, 'layers of type chunked_attention'),
        (
            {'rope_parameters': {'rope_type': 'dynamic', 'rope_theta': 1e4, 'factor': 2.0}},
            "rope_type 'dynamic'; expected another",
        ),
    ],
)
def test_a_decoder_that_no_policy_can_use_is_refused_with_its_folder(
    small, tmp_path, change, expected
):
    folder = reconfigured(small, tmp_path, 'text_config', change)
    with pytest.raises(CheckpointError, match=f'{folder} suits no policy: .*{expected}'):
        checkpoint.load_trunk(folder)


@pytest.mark.parametrize(
    ('part', 'change', 'expected'),
    [
        ('', {'quantization_config': {'quant_method': 'bitsandbytes'}}, 'a quantization_config;'),
        ('', {'quantization_config': {'quant_method': 'gptq', 'bits': 4}}, 'a quantization_config'),
        ('vision_config', {'patch_size': 0}, 'describes no model: ZeroDivisionError'),
        ('text_config', {'num_key_value_heads': 0}, 'describes no model: ZeroDivisionError'),
        ('text_config', {'hidden_act': 'loud'}, "describes no model: KeyError: 'loud'"),
        (
            'text_config',
            {'rope_parameters': {'rope_type': 'bent', 'rope_theta': 1e4}},
            "describes no model: KeyError: 'bent'",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_named(small, tmp_path, part, change, expected):
    folder = reconfigured(small, tmp_path, part, change)
    with pytest.raises(CheckpointError, match=rf'config\.json (has )?{expected}'):
        checkpoint.load_trunk(folder)


def test_weights_of_another_shape_are_named(small, tmp_path):
    folder = reconfigured(small, tmp_path, 'text_config', {'vocab_size': 401})
    name = r'language_model\.embed_tokens\.weight'
    with pytest.raises(CheckpointError, match=rf'Mismatched key\(s\): {name}\. Use matching'):
        checkpoint.load_trunk(folder)
    assert checkpoint.load_tower(folder)


def test_three_axis_positions_are_those_of_the_stock_model():
    torch.manual_seed(0)
    model = AutoModel.from_config(qwen2_5_vl()).eval()
    decoder = Decoder(model.language_model)
    grid = (2, 2)
    cell = np.arange(8, dtype=np.int32)
    tokens = VisualTokens(
        features=np.ones((8, 24), np.float32),
        camera=cell // 4,
        row=cell % 4 // 2,
        column=cell % 2,
        position=cell,
        age=np.zeros(8, np.float32),
        grid=grid,
        stamp=0.0,
    )
    ids = torch.tensor([[399] * 8 + [3, 7, 5]])
    kinds = torch.tensor([[1] * 8 + [0] * 3], dtype=torch.int32)
    frames = torch.tensor([[1, 4, 4]] * 2)
    # The stock model takes adjacent image tokens for one image: each is asked alone.
    stock, _ = model.get_rope_index(
        ids[:, 4:], mm_token_type_ids=kinds[:, 4:], image_grid_thw=frames[:1]
    )
    ours = decoder.visual_positions(tokens)
    assert ours[:, 0, :4].tolist() == stock[:, 0, :4].tolist()
    assert (ours[:, 0, 4:] - 2).tolist() == stock[:, 0, :4].tolist()
    assert decoder.text_start(tokens, 8) - 2 == stock[0, 0, 4].item()
