# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A NORA that is small enough to be made in a test: a Qwen2.5-VL whose tokenizer names actions."""

import json
from pathlib import Path

import numpy as np
import torch
from tiny_models import qwen2_5_vl
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast

from efficient_vla.training.train import train_tokenizer

SMALLEST = -30
SYMBOLS = 60
SCALE = 10.0
WORDS = ('<|im_start|>', '<|im_end|>', '<|vision_start|>', '<|image_pad|>', '<|vision_end|>')
CHAT = (
    '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n'
    '<|vision_start|>{image}<|vision_end|>{sentence}<|im_end|>\n<|im_start|>assistant\n'
)


def statistics(seed: int, mask: bool = True) -> dict:
    """Return the statistics of one dataset; its gripper is not scaled where there is a mask."""
    random = np.random.default_rng(seed)
    low = -random.uniform(0.5, 1, 7)
    high = random.uniform(0.5, 1, 7)
    action = {'q01': low.tolist(), 'q99': high.tolist()}
    return {'action': action | ({'mask': [True] * 6 + [False]} if mask else {})}


def write_fast(folder: Path) -> Path:
    """Write FAST as it is published: letters from 0 on, a byte pair, and their meaning."""
    folder.mkdir()
    # Byte-level letters; those above 127 would be two bytes, and stay out of this one.
    letters = pre_tokenizers.ByteLevel.alphabet()
    names = sorted(letters)
    vocabulary = {name: number for number, name in enumerate(names)}
    pair = '>>'
    vocabulary[pair] = len(vocabulary)
    made = Tokenizer(models.BPE(vocabulary, [('>', '>')]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.save(str(folder / 'tokenizer.json'))
    said = {'scale': SCALE, 'min_token': SMALLEST, 'vocab_size': len(vocabulary)}
    (folder / 'processor_config.json').write_text(json.dumps(said))
    return folder


def fast_ids(folder: Path, coefficients: np.ndarray) -> list[int]:
    """Return the tokens of rounded coefficients [H, A], as FAST encodes them."""
    text = ''.join(chr(int(number) - SMALLEST) for number in coefficients.ravel())
    return list(Tokenizer.from_file(str(folder / 'tokenizer.json')).encode(text).ids)


def write_folder(
    folder: Path, groups: dict, penalty: float = 1.0, tied: bool = True
) -> AutoModelForImageTextToText:
    """Write a folder and return the whole model of transformers, whose tokens are all likely."""
    fast = write_fast(folder / 'fast')
    size = Tokenizer.from_file(str(fast / 'tokenizer.json')).get_vocab_size()
    tokenizer = train_tokenizer(['open the drawer', 'helpful assistant system user'] * 3, 300)
    tokenizer.add_special_tokens({'additional_special_tokens': list(WORDS)})
    names = [AddedToken(f'<robot_action_{n}>', special=False) for n in range(size)]
    tokenizer.add_tokens(names)
    tokenizer.save_pretrained(folder)
    actions = [tokenizer.convert_tokens_to_ids(f'<robot_action_{n}>') for n in range(size)]
    config = qwen2_5_vl()
    config.text_config.vocab_size = len(tokenizer)
    config.image_token_id = tokenizer.convert_tokens_to_ids('<|image_pad|>')
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = tied
    config.vision_config.patch_size, config.vision_config.window_size = 56, 112
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    model.tie_weights()
    if not tied:
        # Nothing but letters of small coefficients is likely, so that each line makes a chunk.
        likely = [actions[n] for n in fast_ids(fast, np.arange(SMALLEST, SMALLEST + SYMBOLS))]
        rows = torch.zeros_like(model.lm_head.weight)
        rows[likely] = model.lm_head.weight[likely]
        model.lm_head.weight.data.copy_(rows)
    end = tokenizer.convert_tokens_to_ids('<|im_end|>')
    model.generation_config.eos_token_id = [end, end - 1]
    model.generation_config.repetition_penalty = penalty
    model.save_pretrained(folder)
    said = {'image_mean': [0.5, 0.4, 0.3], 'image_std': [0.2, 0.3, 0.4]}
    (folder / 'preprocessor_config.json').write_text(json.dumps(said))
    (folder / 'norm_stats.json').write_text(json.dumps(groups))
    return model


def tokenizer_of(folder: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a folder."""
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / 'tokenizer.json'))
