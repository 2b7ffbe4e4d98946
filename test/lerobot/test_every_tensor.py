# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""No tensor of a folder is ignored by mistake, and none that is read is said to be idle."""

from dataclasses import replace

import pytest
import torch
from lerobot_folders import FIXTURES, observation, reference

from efficient_vla import lerobot
from efficient_vla.lerobot.fields import Fields
from efficient_vla.lerobot.folder import open_folder
from efficient_vla.lerobot.weights import Tensors, stored

VISIBLE = 1e-5
"""A change of the chunk that is no rounding."""


def chunks(name):
    """Return the folder, and what makes its chunk with one tensor changed."""
    path = FIXTURES / name
    folder, found = open_folder(path), reference(name)
    batch = folder.preprocess(observation(name))
    noise = found.get('input.noise')
    files = stored(path / 'model.safetensors')
    # One step without bounds shows a change as well as many.
    few = {'num_inference_steps': 1, 'num_steps': 1, 'clip_sample': False}
    folder = replace(folder, config=Fields(path / 'config.json', folder.config.values | few))

    def chunk(tensor):
        changed = {}
        if tensor:
            entry = files[tensor]
            changed = {tensor: replace(entry, read=lambda: entry.read() * 1.5 + 0.25, rows=None)}
        with_change = replace(folder, tensors=Tensors(files | changed))
        drawn = None if noise is None else torch.from_numpy(noise)
        with torch.inference_mode():
            made = lerobot.module_of(path).replay(with_change, batch, drawn)['chunk']
        return made, with_change.tensors.idle

    return files, chunk


@pytest.mark.parametrize(
    'name',
    ['act', 'act_switches', 'diffusion', 'diffusion_switches', 'smolvla', 'pi0', 'pi05'],
)
def test_a_tensor_changes_the_chunk_unless_it_is_declared_idle(name):
    files, chunk = chunks(name)
    same, idle = chunk('')
    changed = set()
    for tensor, entry in files.items():
        if entry.dtype != 'I64':
            change = (chunk(tensor)[0] - same).abs().max()
            changed |= {tensor} if change > VISIBLE else set()
    # What is added to all keys alike changes no softmax over them.
    neutral = {tensor for tensor in files if tensor.endswith('self_attn.k_proj.bias')}
    assert changed & (idle | neutral) == set()
    assert files.keys() - changed == idle | neutral
