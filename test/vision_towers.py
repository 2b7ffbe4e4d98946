# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Small vision towers of the real classes, with random weights."""

import torch
from torch import nn
from transformers import AutoModel, CLIPVisionConfig, SiglipVisionConfig
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMConfig, SmolVLMVisionConfig

from efficient_vla.perception.conv_stem import ConvStem
from efficient_vla.perception.tower import VisionTower

SHAPE = {
    'hidden_size': 32,
    'intermediate_size': 48,
    'num_hidden_layers': 3,
    'num_attention_heads': 4,
    'image_size': 64,
    'patch_size': 8,
}
"""Eight patches a side."""
FAMILIES = {
    'smolvlm': (SmolVLMVisionConfig, None, 0),
    'idefics3': (Idefics3VisionConfig, None, 0),
    'siglip': (SiglipVisionConfig, None, 0),
    'siglip, inner layer': (SiglipVisionConfig, -2, 0),
    'clip, inner layer': (CLIPVisionConfig, -2, 1),
    'clip': (CLIPVisionConfig, None, 1),
}
"""Name -> configuration, layer that is read, leading tokens."""


def encoder(config: type) -> nn.Module:
    torch.manual_seed(3)
    model = AutoModel.from_config(config(**SHAPE))
    for weight in model.parameters():
        # As they are made, layers hardly change what they are given.
        nn.init.normal_(weight, std=0.2)
    return model.eval()


def tower(family: str = 'siglip') -> VisionTower:
    config, layer, skip = FAMILIES[family]
    return VisionTower(encoder(config), nn.Linear(32, 24), layer, skip).eval()


def shuffling_tower() -> VisionTower:
    """Make a tower of 8 x 8 patches and, by pixel shuffle, 4 x 4 tokens."""
    vision = SmolVLMVisionConfig(**SHAPE)
    text = {'model_type': 'llama', 'hidden_size': 24, 'num_hidden_layers': 1, 'vocab_size': 8}
    text |= {'num_attention_heads': 2, 'intermediate_size': 8, 'pad_token_id': 0}
    model = AutoModel.from_config(
        SmolVLMConfig(vision_config=vision.to_dict(), text_config=text, scale_factor=2)
    )
    return VisionTower(encoder(SmolVLMVisionConfig), model.connector).eval()


def stem_tower() -> VisionTower:
    """Make a tower with the stem of evla-nano, eight cells a side."""
    torch.manual_seed(3)
    model = AutoModel.from_config(
        SmolVLMVisionConfig(**SHAPE | {'image_size': 96, 'patch_size': 12})
    )
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.2)
    stem = ConvStem(32)
    for layer in stem.layers:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    model.embeddings.patch_embedding = stem
    return VisionTower(model, nn.Linear(32, 24)).eval()
