# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a policy needs beside a vision-language model, small: tokenizer, queries, heads, card."""

import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from efficient_vla import checkpoint
from efficient_vla.action.policies import DualPolicy, SinglePolicy
from efficient_vla.training.train import train_tokenizer

SENTENCE = 'open the drawer'
SPECIAL = {
    'idefics3': (
        *('<image>', '<fake_token_around_image>', '<global-img>', '<end_of_utterance>'),
        *(f'<row_{row}_col_{column}>' for row in (1, 2, 3) for column in (1, 2, 3)),
        '<|begin_of_text|>',
    ),
    'llava': ('<s>', '<image>'),
    'paligemma': ('<bos>', '<image>'),
    'gemma3': (
        *('<bos>', '<start_of_turn>', '<end_of_turn>'),
        *('<start_of_image>', '<image_soft_token>', '<end_of_image>'),
    ),
    'qwen2_5_vl': (
        *('<|im_start|>', '<|im_end|>', '<|vision_start|>', '<|image_pad|>', '<|vision_end|>'),
    ),
}
SPECIAL['qwen3_vl'] = SPECIAL['qwen2_5_vl']
SPECIAL['smolvlm'] = (*SPECIAL['idefics3'], '<|im_start|>')


def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer with the special tokens of a template's models."""
    made = train_tokenizer([SENTENCE, 'User assistant system helpful'] * 3, 300)
    made.add_special_tokens({'additional_special_tokens': list(SPECIAL[kind])})
    if kind == 'llava':
        begin = ('<s>', made.convert_tokens_to_ids('<s>'))
        made.backend_tokenizer.post_processor = TemplateProcessing(
            single='<s> $A', special_tokens=[begin]
        )
    return made


def write_policy_beside(folder: Path, card: checkpoint.Card, width: int) -> None:
    """Put queries, heads, card and tokenizer beside a model with hidden states this wide."""
    tensors = {'queries': torch.randn(card.queries, width)}
    for name, kind in (('single', SinglePolicy), ('dual', DualPolicy)):
        head = kind(card.shape(width))
        tensors |= {f'{name}.{k}': v for k, v in head.state_dict().items()}
    save_file(tensors, folder / 'policy.safetensors')
    (folder / 'policy.json').write_text(json.dumps(dataclasses.asdict(card)))
    tokenizer_of(card.prompt).save_pretrained(folder)
