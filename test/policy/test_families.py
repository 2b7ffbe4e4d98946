# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of other vision-language models load through the same code as evla-nano."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    CLIPVisionConfig,
    GemmaConfig,
    LlamaConfig,
    LlavaConfig,
    PaliGemmaConfig,
    Qwen2_5_VLConfig,
    Qwen2Config,
    SiglipVisionConfig,
    SmolVLMConfig,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from efficient_vla import checkpoint
from efficient_vla.policy import Policy
from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.training.tokenizer import train_tokenizer
from efficient_vla.types import VisualTokens

VISION = {
    'hidden_size': 32,
    'intermediate_size': 48,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'image_size': 32,
    'patch_size': 8,
}
TEXT = {
    'hidden_size': 24,
    'intermediate_size': 32,
    'num_hidden_layers': 3,
    'num_attention_heads': 2,
    'num_key_value_heads': 1,
    'vocab_size': 400,
}


def smolvlm():
    return SmolVLMConfig(
        vision_config=VISION, text_config=LlamaConfig(**TEXT), scale_factor=2, image_token_id=399
    )


def llava():
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=Qwen2Config(**TEXT),
        image_token_index=399,
    )


def paligemma():
    return PaliGemmaConfig(
        vision_config=SiglipVisionConfig(**VISION, projection_dim=24),
        text_config=GemmaConfig(**TEXT, head_dim=12),
        projection_dim=24,
        image_token_index=399,
    )


def qwen2_5_vl():
    vision = {
        'depth': 2,
        'hidden_size': 32,
        'intermediate_size': 48,
        'num_heads': 2,
        'patch_size': 8,
        'window_size': 16,
        'fullatt_block_indexes': [1],
        'out_hidden_size': 24,
    }
    rope = {'rope_type': 'default', 'rope_theta': 1e4, 'mrope_section': [2, 2, 2]}
    return Qwen2_5_VLConfig(
        vision_config=vision, text_config={**TEXT, 'rope_parameters': rope}, image_token_id=399
    )


@pytest.fixture(params=[smolvlm, llava, paligemma, qwen2_5_vl])
def other(request, card, tmp_path: Path):
    """Write a model of transformers with queries and heads beside it; return both."""
    torch.manual_seed(0)
    config = request.param()
    model = AutoModel.from_config(config).eval()
    tokens = 4 if request.param in (smolvlm, qwen2_5_vl) else 16
    card = dataclasses.replace(card, image_size=32, tokens_per_camera=tokens, stem='patch')
    width = TEXT['hidden_size']
    shape = (card.queries, width, 4, card.horizon, 4)
    tensors = dict(model.state_dict())
    tensors['queries'] = torch.randn(card.queries, width)
    for name, kind in (('single', checkpoint.SinglePolicy), ('dual', checkpoint.DualPolicy)):
        tensors |= {f'{name}.{k}': v for k, v in kind(*shape).state_dict().items()}
    tokenizer = train_tokenizer(['open the drawer'] * 3, 300)
    checkpoint.save(tmp_path, card, config, tensors, tokenizer)
    return tmp_path, model


@torch.inference_mode()
def test_the_tower_gives_the_stock_image_features(other):
    folder, model = other
    pixels = torch.randn(1, 3, 32, 32)
    _, tower = checkpoint.load_tower(folder)
    given = {'pixel_values': pixels[None] if model.config.model_type == 'smolvlm' else pixels}
    if model.config.model_type == 'qwen2_5_vl':
        options = {'do_resize': False, 'do_rescale': False, 'do_normalize': False}
        processor = Qwen2VLImageProcessorPil(patch_size=8, **options)
        given = dict(processor(pixels[0].numpy(), return_tensors='pt'))
    stock = model.get_image_features(**given).pooler_output
    torch.testing.assert_close(tower(pixels)[0], stock[0], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_trunk_gives_the_stock_hidden_states(other):
    folder, model = other
    _, trunk, _ = checkpoint.load_trunk(folder)
    visual, text = torch.randn(1, 5, 24), torch.tensor([[3, 7]])
    latents, _ = trunk(visual, torch.arange(5)[None], text, torch.ones(1, 2, dtype=torch.bool), 5)
    decoder = getattr(model, checkpoint.FAMILIES[model.config.model_type].text)
    embeddings = torch.cat([visual, decoder.embed_tokens(text), trunk.queries[None]], 1)
    mask = torch.ones(1, 1, 9, 9, dtype=torch.bool).tril()
    if model.config.model_type == 'paligemma':
        mask[:, :, :7, :7] = True
    stock = decoder(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state[:, -2:]
    torch.testing.assert_close(latents, stock, atol=1e-5, rtol=0)


def test_the_whole_policy_acts(other, frame):
    policy = Policy.from_pretrained(other[0], pruning_method='fastv', pruning_layer=1)
    assert policy.act(frame, 'open the drawer').actions.shape == (5, 4)


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
