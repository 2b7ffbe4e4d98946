# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Add-on files: what is read is what was written, for the weights it was trained for."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from efficient_vla import addons, checkpoint
from efficient_vla.errors import CheckpointError
from efficient_vla.policy import Policy
from efficient_vla.reasoning.resampling.perceiver import Perceiver
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.settings import build
from efficient_vla.training.files import write_addon
from efficient_vla.types import InvalidRecordError

SHAPE = {'width': 8, 'tokens': 3, 'heads': 2}


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    named = {addons.MODULE + n: t for n, t in Perceiver(**SHAPE).state_dict().items()}
    named['lora.0.down'], named['lora.0.up'] = torch.randn(2, 5), torch.randn(4, 2)
    return named


def test_module_and_updates_come_back_in_half_precision(tensors, tmp_path):
    write_addon(tmp_path, 'perceiver', SHAPE, tensors, 'abc')
    addon = addons.read(tmp_path, 'perceiver', 'abc')
    module = Perceiver(**addon.shape)
    addon.fill(module)
    assert not module.training
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, tensors[addons.MODULE + name].half().float())
    layers = nn.Sequential(nn.Linear(5, 4))
    before = layers[0].weight.clone()
    addon.merge(layers)
    update = tensors['lora.0.up'].half().float() @ tensors['lora.0.down'].half().float()
    assert torch.allclose(layers[0].weight, before + update)


def test_a_missing_addon_says_how_to_train_it(folder):
    with pytest.raises(CheckpointError, match='efficient-vla train --method otter'):
        checkpoint.load_resampler(folder, 'otter', checkpoint.load_trunk(folder)[1])
    learned, lacking = checkpoint.load_learned(folder)
    assert learned == {}
    assert Policy.from_pretrained(folder, pruning_method='lightvla')
    for method in ('fastdrivevla', 'ecot'):
        command = f'efficient-vla train --method {method} --policy {folder} --install'
        assert command in lacking[method]


def test_an_addon_of_other_weights_is_refused(tensors, tmp_path):
    write_addon(tmp_path, 'perceiver', SHAPE, tensors, 'abc')
    with pytest.raises(
        CheckpointError, match=r'trained for weights abc; those of .* are def.*is damaged'
    ):
        addons.read(tmp_path, 'perceiver', 'def')


@pytest.mark.parametrize(
    ('method', 'keyword'),
    [('lightvla', 'pruning_method'), ('fastdrivevla', 'pruning_method'), ('ecot', 'ecot_method')],
)
def test_an_addon_of_earlier_weights_stops_only_who_asks_for_it(folder, tmp_path, method, keyword):
    policy = Path(shutil.copytree(folder, tmp_path / 'policy'))
    for name in checkpoint.LEARNED:
        write_addon(policy, name, {}, {'module.x': torch.zeros(1)}, 'earlier')
    value = 'text' if method == 'ecot' else method
    reason = (
        f'{method}.safetensors was trained for weights earlier.*'
        f'train --method {method} --policy {policy} --install'
    )
    with pytest.raises(InvalidRecordError, match=reason):
        Policy.from_pretrained(policy, **{keyword: value})
    reasoner = Policy.from_pretrained(policy).reasoner
    before = build(ReasonerSettings, {'pruning.method': 'fastv'})
    reasoner.configure(before)
    with pytest.raises(InvalidRecordError, match=reason):
        reasoner.configure(build(ReasonerSettings, {keyword.replace('_', '.'): value}, before))
    assert reasoner._settings == before


def test_an_addon_of_another_method_is_refused(tensors, tmp_path):
    write_addon(tmp_path, 'perceiver', SHAPE, tensors, 'abc')
    addons.path(tmp_path, 'perceiver').rename(addons.path(tmp_path, 'otter'))
    with pytest.raises(CheckpointError, match="holds the method 'perceiver'; expected 'otter'"):
        addons.read(tmp_path, 'otter', 'abc')


def test_a_truncated_addon_is_named(tensors, tmp_path):
    write_addon(tmp_path, 'perceiver', SHAPE, tensors, 'abc')
    path = addons.path(tmp_path, 'perceiver')
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match='truncated'):
        addons.read(tmp_path, 'perceiver', 'abc')


def test_an_addon_that_is_not_finite_is_named(tensors, tmp_path):
    write_addon(tmp_path, 'perceiver', SHAPE, tensors | {'lora.0.up': torch.ones(4, 2) / 0}, 'abc')
    with pytest.raises(
        CheckpointError, match=r'perceiver\.safetensors holds 8 values in lora\.0\.up'
    ):
        addons.read(tmp_path, 'perceiver', 'abc')


def test_a_module_of_another_shape_is_refused(tensors, tmp_path):
    about = {'method': 'perceiver', 'shape': json.dumps(SHAPE | {'tokens': 4}), 'weights': 'abc'}
    save_file(tensors, addons.path(tmp_path, 'perceiver'), metadata=about)
    addon = addons.read(tmp_path, 'perceiver', 'abc')
    with pytest.raises(CheckpointError, match='does not fit Perceiver'):
        addon.fill(Perceiver(**addon.shape))


def test_a_shape_that_would_fill_the_memory_is_refused_before_it_does(tensors, tmp_path):
    about = {'method': 'perceiver', 'shape': json.dumps(SHAPE | {'tokens': 10**14})}
    save_file(tensors, addons.path(tmp_path, 'perceiver'), metadata=about | {'weights': 'abc'})
    with pytest.raises(CheckpointError, match=r'holds \d+ numbers; Perceiver'):
        addons.read(tmp_path, 'perceiver', 'abc').module(Perceiver)


@pytest.mark.parametrize(
    ('layers', 'found'),
    [(nn.Sequential(nn.Linear(5, 3)), r'\[3, 5\]'), (nn.Sequential(), 'no such layer')],
)
def test_updates_of_a_layer_that_is_not_there_are_refused(tensors, tmp_path, layers, found):
    write_addon(tmp_path, 'perceiver', SHAPE, tensors, 'abc')
    with pytest.raises(CheckpointError, match=f'updates 0 by .* the policy has {found}'):
        addons.read(tmp_path, 'perceiver', 'abc').merge(layers)


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'lora.0.down': None}, r'lacks or misspells 0\.down of lora\.\*'),
        ({'lora.0.up': None}, r'lacks or misspells 0\.up of lora\.\*'),
        ({'lora.1.up': torch.ones(4, 2)}, r'lacks or misspells 1\.down of'),
        ({'lora.0.dwn': torch.ones(2, 5)}, r'lacks or misspells 0\.dwn of'),
        ({'lora.0.down': torch.ones(3, 5)}, r'updates 0 by \[4, 2\] times \[3, 5\]; the policy'),
        ({'lora.0.down': torch.ones(2, 5, dtype=torch.int64)}, r'\[2, 5\] in integers; the policy'),
        ({'lora.0.down': torch.ones(5)}, r'updates 0 by \[4, 2\] times \[5\]; the policy has'),
    ],
)
def test_updates_that_are_not_whole_are_refused_and_change_nothing(
    tensors, tmp_path, change, expected
):
    named = {name: tensor for name, tensor in (tensors | change).items() if tensor is not None}
    layers = nn.Sequential(nn.Linear(5, 4))
    before = layers[0].weight.clone()
    with pytest.raises(CheckpointError, match=expected):
        addons.Addon(tmp_path / 'perceiver.safetensors', 'perceiver', SHAPE, named).merge(layers)
    assert torch.equal(layers[0].weight, before)


def test_an_addon_that_is_a_folder_stops_only_who_asks_for_it(folder, tmp_path):
    policy = Path(shutil.copytree(folder, tmp_path / 'policy'))
    (policy / 'fastdrivevla.safetensors').mkdir()
    assert Policy.from_pretrained(policy)
    with pytest.raises(InvalidRecordError, match=r'fastdrivevla\.safetensors cannot be read'):
        Policy.from_pretrained(policy, pruning_method='fastdrivevla')


def test_writing_leaves_no_temporary_file(tensors, tmp_path):
    write_addon(tmp_path, 'perceiver', SHAPE, tensors, 'abc')
    assert [path.name for path in Path(tmp_path).iterdir()] == ['perceiver.safetensors']


def test_a_module_of_whole_numbers_is_refused(tensors, tmp_path):
    whole = {name: tensor.long() for name, tensor in tensors.items()}
    about = {'method': 'perceiver', 'weights': 'abc', 'shape': json.dumps(SHAPE)}
    save_file(whole, addons.path(tmp_path, 'perceiver'), metadata=about)
    with pytest.raises(CheckpointError, match=r'in torch\.int64; expected torch\.float32\. Train'):
        addons.read(tmp_path, 'perceiver', 'abc').module(Perceiver)


@pytest.mark.parametrize('about', ['', '{"horizon"'])
def test_an_addon_without_a_shape_is_refused(tensors, tmp_path, about):
    named = {'method': 'perceiver', 'weights': 'abc', 'shape': about}
    save_file(tensors, addons.path(tmp_path, 'perceiver'), metadata=named)
    with pytest.raises(CheckpointError, match='does not say its shape'):
        addons.read(tmp_path, 'perceiver', 'abc')


def test_a_shape_that_no_module_has_is_refused(tensors, tmp_path):
    write_addon(tmp_path, 'perceiver', {'wings': 2}, tensors, 'abc')
    with pytest.raises(CheckpointError, match=r'describes no Linear.*wings'):
        addons.read(tmp_path, 'perceiver', 'abc').make(torch.nn.Linear)
