# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""OpenVLA folders of a few layers with random weights, in the names that the real ones have."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

SIDE, PATCH, GRID = 42, 14, 3
WIDTHS, DEPTH, MLPS, REGISTERS = (32, 48), 3, (40, 52), 4
MIDDLE = 4 * sum(WIDTHS)
HIDDEN, LAYERS, ACTIONS, STATES = 32, 4, 7, 8
VOCABULARY, UNUSED, FIRST_BIN = 32064, 64, 31744
MEANS = ((0.485, 0.456, 0.406), (0.5, 0.5, 0.5))
STDS = ((0.229, 0.224, 0.225), (0.5, 0.5, 0.5))
TEXT = {
    'model_type': 'llama',
    'vocab_size': VOCABULARY,
    'hidden_size': HIDDEN,
    'intermediate_size': 48,
    'num_hidden_layers': LAYERS,
    'num_attention_heads': 4,
    'num_key_value_heads': 4,
    'pad_token_id': 32000,
}
CONFIG = {
    'model_type': 'openvla',
    'architectures': ['OpenVLAForActionPrediction'],
    'auto_map': {'AutoConfig': 'configuration_prismatic.OpenVLAConfig'},
    'arch_specifier': 'no-align+fused-gelu-mlp',
    'vision_backbone_id': 'dinosiglip-vit-so-224px',
    'llm_backbone_id': 'llama2-7b-pure',
    'use_fused_vision_backbone': True,
    'image_resize_strategy': 'resize-naive',
    'image_sizes': [SIDE, SIDE],
    'n_action_bins': 256,
    'pad_to_multiple_of': UNUSED,
    'text_config': TEXT,
}
PROCESSOR = {
    'image_processor_type': 'PrismaticImageProcessor',
    'image_resize_strategy': 'resize-naive',
    'input_sizes': [[3, SIDE, SIDE]] * 2,
    'interpolations': ['bicubic'] * 2,
    'means': MEANS,
    'stds': STDS,
    'use_fused_vision_backbone': True,
}


def statistics(seed: int, actions: int = ACTIONS, states: int = STATES) -> dict:
    """Return the statistics of a dataset."""
    random = np.random.default_rng(seed)
    group = {}
    for name, columns in (('action', actions), ('proprio', states)):
        low = random.uniform(-2, -0.1, columns)
        high = random.uniform(0.1, 2, columns)
        group[name] = {
            'q01': low.tolist(),
            'q99': high.tolist(),
            'min': (low - 0.5).tolist(),
            'max': (high + 0.7).tolist(),
            'mean': ((low + high) / 2).tolist(),
            'std': (high - low).tolist(),
        }
    group['action']['mask'] = [True] * (actions - 1) + [False]
    return group | {'num_transitions': 10, 'num_trajectories': 1}


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    """Return random weights of all parts."""
    torch.manual_seed(seed)
    made: dict[str, torch.Tensor] = {}

    def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> None:
        made[f'{name}.weight'] = torch.randn(outputs, inputs) / inputs**0.5
        if bias:
            made[f'{name}.bias'] = 0.1 * torch.randn(outputs)

    def norm(name: str, width: int, bias: bool = True) -> None:
        made[f'{name}.weight'] = 1 + 0.2 * torch.randn(width)
        if bias:
            made[f'{name}.bias'] = 0.1 * torch.randn(width)

    def block(name: str, width: int, mlp: int, scaled: bool) -> None:
        for part in ('norm1', 'norm2'):
            norm(f'{name}.{part}', width)
        linear(f'{name}.attn.qkv', 3 * width, width)
        linear(f'{name}.attn.proj', width, width)
        linear(f'{name}.mlp.fc1', mlp, width)
        linear(f'{name}.mlp.fc2', width, mlp)
        for part in ('ls1', 'ls2') if scaled else ():
            made[f'{name}.{part}.scale_factor'] = 0.5 + torch.rand(width)

    for name, width, mlp in zip(('featurizer', 'fused_featurizer'), WIDTHS, MLPS, strict=True):
        tower = f'vision_backbone.{name}'
        first = name == 'featurizer'
        made[f'{tower}.patch_embed.proj.weight'] = torch.randn(width, 3, PATCH, PATCH) / 24
        made[f'{tower}.patch_embed.proj.bias'] = 0.1 * torch.randn(width)
        made[f'{tower}.pos_embed'] = torch.randn(1, GRID**2, width)
        if first:
            made[f'{tower}.cls_token'] = torch.randn(1, 1, width)
            made[f'{tower}.reg_token'] = torch.randn(1, REGISTERS, width)
        for index in range(DEPTH):
            block(f'{tower}.blocks.{index}', width, mlp, scaled=first)
        norm(f'{tower}.norm', width)
        if not first:
            made[f'{tower}.attn_pool.latent'] = torch.randn(1, 1, width)
            linear(f'{tower}.attn_pool.q', width, width)
    linear('projector.fc1', MIDDLE, sum(WIDTHS))
    linear('projector.fc2', HIDDEN, MIDDLE)
    linear('projector.fc3', HIDDEN, HIDDEN)
    llama = 'language_model.model'
    made[f'{llama}.embed_tokens.weight'] = torch.randn(VOCABULARY, HIDDEN)
    for index in range(LAYERS):
        layer = f'{llama}.layers.{index}'
        for part in ('q_proj', 'k_proj', 'v_proj', 'o_proj'):
            linear(f'{layer}.self_attn.{part}', HIDDEN, HIDDEN, bias=False)
        linear(f'{layer}.mlp.gate_proj', TEXT['intermediate_size'], HIDDEN, bias=False)
        linear(f'{layer}.mlp.up_proj', TEXT['intermediate_size'], HIDDEN, bias=False)
        linear(f'{layer}.mlp.down_proj', HIDDEN, TEXT['intermediate_size'], bias=False)
        for part in ('input_layernorm', 'post_attention_layernorm'):
            norm(f'{layer}.{part}', HIDDEN, bias=False)
    norm(f'{llama}.norm', HIDDEN, bias=False)
    head = torch.randn(VOCABULARY, HIDDEN)
    head[FIRST_BIN : FIRST_BIN + 256] *= 3  # so that tokens of actions are the likeliest
    made['language_model.lm_head.weight'] = head
    return made


def tokenizer() -> Tokenizer:
    """Return a tokenizer that begins a sentence as that of Llama 2 does."""
    made = Tokenizer(models.BPE(unk_token='<unk>'))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    sentence = 'In: What action should the robot take to pick up the black bowl?\nOut:'
    trainer = trainers.BpeTrainer(
        vocab_size=200, special_tokens=['<unk>', '<s>', '</s>'], show_progress=False
    )
    made.train_from_iterator([sentence, 'open the drawer', 'press the button'], trainer)
    made.post_processor = processors.TemplateProcessing(
        single='<s> $A', special_tokens=[('<s>', 1)]
    )
    return made


def write_folder(path: Path, weights: dict[str, torch.Tensor], groups: dict[str, dict]) -> Path:
    """Write the folder of an OpenVLA in two shards, with the statistics in its configuration."""
    path.mkdir(parents=True, exist_ok=True)
    (path / 'config.json').write_text(json.dumps(CONFIG | {'norm_stats': groups}))
    (path / 'preprocessor_config.json').write_text(json.dumps(PROCESSOR))
    tokenizer().save(str(path / 'tokenizer.json'))
    placed = {}
    for number, keys in enumerate((sorted(weights)[:40], sorted(weights)[40:]), 1):
        shard = f'model-0000{number}-of-00002.safetensors'
        save_file({key: weights[key] for key in keys}, path / shard, {'format': 'pt'})
        placed |= dict.fromkeys(keys, shard)
    index = {'metadata': {'total_size': 0}, 'weight_map': placed}
    (path / 'model.safetensors.index.json').write_text(json.dumps(index))
    return path


def oft_parts(
    seed: int = 1, actions: int = ACTIONS, states: int = STATES
) -> dict[str, dict[str, torch.Tensor]]:
    """Return part -> its tensors, as OFT saves them from a model in several processes."""
    torch.manual_seed(seed)

    def linear(name: str, outputs: int, inputs: int) -> dict[str, torch.Tensor]:
        return {
            f'module.{name}.weight': torch.randn(outputs, inputs) / inputs**0.5,
            f'module.{name}.bias': 0.1 * torch.randn(outputs),
        }

    def norm(name: str, width: int) -> dict[str, torch.Tensor]:
        return {
            f'module.{name}.weight': 1 + 0.2 * torch.randn(width),
            f'module.{name}.bias': 0.1 * torch.randn(width),
        }

    head = norm('model.layer_norm1', actions * HIDDEN)
    head |= linear('model.fc1', HIDDEN, actions * HIDDEN)
    for block in range(2):
        head |= norm(f'model.mlp_resnet_blocks.{block}.ffn.0', HIDDEN)
        head |= linear(f'model.mlp_resnet_blocks.{block}.ffn.1', HIDDEN, HIDDEN)
    head |= norm('model.layer_norm2', HIDDEN) | linear('model.fc2', actions, HIDDEN)
    proprio = linear('fc1', HIDDEN, states) | linear('fc2', HIDDEN, HIDDEN)
    return {'action_head': head, 'proprio_projector': proprio}


def add_oft(path: Path, parts: dict[str, dict[str, torch.Tensor]], groups: dict) -> Path:
    """Add what fine-tuning by OFT writes beside the model."""
    for name, part in parts.items():
        torch.save(part, path / f'{name}--150000_checkpoint.pt')
    (path / 'dataset_statistics.json').write_text(json.dumps(groups))
    return path
