# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Heads of add-on files: each is loaded by its settings, acts, and is missed with a reason."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from efficient_vla import addons, checkpoint
from efficient_vla.action.heads.diffusion import DiffusionHead
from efficient_vla.action.heads.flow import FlowHead
from efficient_vla.action.heads.token_decoder import TokenDecoder
from efficient_vla.action.tokenizers.bins import BinTokenizer
from efficient_vla.action.tokenizers.fast import FastTokenizer
from efficient_vla.errors import CheckpointError
from efficient_vla.policy import Policy
from efficient_vla.settings import InvalidSettingError
from efficient_vla.training.byte_pairs import fit
from efficient_vla.training.files import write_addon

HEADS = {
    'flow': {'head': 'flow'},
    'diffusion': {'head': 'diffusion', 'diffusion_steps': 3},
    'bins': {'head': 'tokens', 'tokens_tokenizer': 'bins', 'decoding_method': 'speculative'},
    'fast': {'head': 'tokens', 'tokens_tokenizer': 'fast', 'decoding_method': 'jacobi'},
}
"""Add-on -> keywords of the policy."""


@pytest.fixture(scope='module')
def filled(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the tiny policy and put random heads beside it."""
    path = tmp_path_factory.mktemp('filled')
    shutil.copytree(folder, path, dirs_exist_ok=True)
    torch.manual_seed(0)
    card, single = checkpoint.load_head(path, 'single')
    sizes = {'features': single.width, 'horizon': card.horizon, 'actions': 4, 'patch': 5}
    for name, kind in (('flow', FlowHead), ('diffusion', DiffusionHead)):
        _write(path, name, sizes, kind(**sizes))
    low, high = [-1.0] * 4, [1.0] * 4
    bins = {'horizon': card.horizon, 'low': low, 'high': high, 'bins': 8}
    chunks = torch.rand(50, card.horizon, 4) * 2 - 1
    fast = fit(chunks, low, high, [4.0] * 4, 0.0, 60)
    for name, tokenizer, shape in (
        ('bins', BinTokenizer(**bins), bins),
        ('fast', FastTokenizer(**fast), fast),
    ):
        decoder = TokenDecoder(single.width, tokenizer.size, tokenizer.length)
        _write(path, name, shape, decoder)
    return path


def _write(path: Path, name: str, shape: dict, module: torch.nn.Module) -> None:
    tensors = {addons.MODULE + n: tensor for n, tensor in module.state_dict().items()}
    write_addon(path, name, shape, tensors, checkpoint.sha256(path))


@pytest.mark.parametrize('head', HEADS)
def test_a_head_of_an_addon_acts(head, filled, frame):
    policy = Policy.from_pretrained(filled, architecture='single', **HEADS[head])
    chunk = policy.act(frame, 'press the button')
    assert chunk.actions.shape == (5, 4)
    assert chunk.steps >= 1
    policy.reset()
    assert np.array_equal(policy.act(frame, 'press the button').actions, chunk.actions)


@pytest.mark.parametrize('head', HEADS)
def test_a_missing_head_is_named_with_the_command_that_trains_it(head, folder):
    with pytest.raises(CheckpointError, match=f'train --method {head}'):
        Policy.from_pretrained(folder, architecture='single', **HEADS[head])


def test_consistency_without_its_student_is_refused(filled):
    wanted = {**HEADS['bins'], 'architecture': 'single', 'decoding_method': 'consistency'}
    with pytest.raises(InvalidSettingError, match='train --method consistency'):
        Policy.from_pretrained(filled, **wanted)


def test_the_regression_head_acts_as_before(folder, filled, frame):
    before, after = (
        Policy.from_pretrained(path, architecture='single').act(frame, 'press the button')
        for path in (folder, filled)
    )
    assert np.array_equal(before.actions, after.actions)


def test_a_student_of_other_bins_is_refused(filled, tmp_path):
    folder = shutil.copytree(filled, tmp_path / 'policy')
    card, single = checkpoint.load_head(folder, 'single')
    wanted = {**HEADS['bins'], 'architecture': 'single', 'decoding_method': 'consistency'}
    for high, match in ((1.0, None), (2.0, 'trained with other bins')):
        shape = {'horizon': card.horizon, 'low': [-1.0] * 4, 'high': [high] * 4, 'bins': 8}
        tokenizer = BinTokenizer(**shape)
        student = TokenDecoder(single.width, tokenizer.size, tokenizer.length)
        _write(folder, 'consistency', shape, student)
        Policy.from_pretrained(folder, architecture='single', **HEADS['bins'])
        if match is None:
            Policy.from_pretrained(folder, **wanted)
            continue
        with pytest.raises(InvalidSettingError, match=match):
            Policy.from_pretrained(folder, **wanted)


def test_tokens_of_another_horizon_are_refused(filled, tmp_path):
    folder = shutil.copytree(filled, tmp_path / 'policy')
    card, single = checkpoint.load_head(folder, 'single')
    shape = {'horizon': card.horizon - 1, 'low': [-1.0] * 4, 'high': [1.0] * 4, 'bins': 8}
    tokenizer = BinTokenizer(**shape)
    decoder = TokenDecoder(single.width, tokenizer.size, tokenizer.length)
    _write(folder, 'bins', shape, decoder)
    with pytest.raises(CheckpointError, match='is for chunks of'):
        Policy.from_pretrained(folder, architecture='single', **HEADS['bins'])
