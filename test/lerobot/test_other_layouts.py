# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders from before processors had files, of compiled policies, and of adapters."""

import json

import numpy as np
import pytest
import torch
from lerobot_folders import FIXTURES, observation, reference, rewrite
from safetensors.torch import load_file, save_file

from efficient_vla.bench.parity import LIMIT, parity
from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.folder import open_folder
from efficient_vla.policy_folders import folder_facts
from efficient_vla.settings import InvalidSettingError

WEIGHTS = 'model.safetensors'
HEAD, WIDE = 'model.action_head', 'model.encoder.layers.0.linear1'


def older(folder, group=''):
    """Rewrite a folder of today as one from before LeRobot 0.4."""
    held = load_file(folder / WEIGHTS)
    for begin, pattern in (
        ('normalize_inputs', 'policy_pre*'),
        ('unnormalize_outputs', 'policy_po*'),
    ):
        (path,) = folder.glob(f'{pattern}.safetensors')
        for name, value in load_file(path).items():
            key, _, statistic = name.rpartition('.')
            held[f'{begin}.{group}buffer_{key.replace(".", "_")}.{statistic}'] = value
    for path in folder.glob('policy_*'):
        path.unlink()
    save_file(held, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize('name', ['act', 'act_switches', 'diffusion'])
def test_statistics_inside_the_weights_are_found_also_of_cameras_with_underscores(copied, name):
    row = parity(older(copied(name)))
    assert row['errors']['actions'] < 1e-3
    assert max(error for stage, error in row['errors'].items() if stage != 'actions') < LIMIT


@pytest.mark.parametrize('name', ['smolvla_base', 'smolvla', 'pi0'])
def test_an_older_folder_is_told_its_sentence_as_today(copied, name):
    folder = older(copied(name))
    batch = open_folder(folder).preprocess({'task': observation(name)['task']})
    for key in ('tokens', 'attention_mask'):
        key = f'observation.language.{key}'
        np.testing.assert_array_equal(batch[key].numpy(), reference(name)[f'processed.{key}'])


def test_groups_inside_the_weights_are_chosen_by_name(copied):
    folder = older(copied('act'), 'so100_')
    with pytest.raises(CheckpointError, match=r'in groups, so100; .* parameter unnorm_key'):
        open_folder(folder)
    chunk = torch.from_numpy(reference('act')['chunk'])
    actions = open_folder(folder, unnorm_key='so100').postprocess(chunk, {})
    np.testing.assert_allclose(actions.numpy(), reference('act')['actions'], rtol=1e-6, atol=1e-5)


def test_statistics_that_were_never_set_are_refused(copied):
    folder = older(copied('act'))
    held = load_file(folder / WEIGHTS)
    held['normalize_inputs.buffer_observation_state.mean'].fill_(float('inf'))
    save_file(held, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match='mean that are not finite'):
        open_folder(folder)


def test_one_missing_file_does_not_make_a_folder_old(copied):
    folder = copied('act')
    for path in folder.glob('policy_*'):
        path.unlink()
    with pytest.raises(CheckpointError, match=r'policy_preprocessor\.json is missing'):
        open_folder(folder)


def test_names_of_a_compiled_policy_are_those_of_a_plain_one(copied):
    folder = copied('diffusion')
    held = load_file(folder / WEIGHTS)
    save_file(
        {k.replace('.unet.', '.unet._orig_mod.'): v for k, v in held.items()}, folder / WEIGHTS
    )
    assert parity(folder)['max_error'] < LIMIT


def adapted(folder, tmp_path, factors, base=None, **config):
    """Move the weights of a folder to a base, and put an adapter in their place."""
    other = tmp_path / 'base'
    other.mkdir()
    (folder / WEIGHTS).rename(other / WEIGHTS)
    said = {'peft_type': 'LORA', 'r': 2, 'lora_alpha': 8, 'bias': 'none', 'use_dora': False}
    said |= {'base_model_name_or_path': str(other if base is None else base)} | config
    (folder / 'adapter_config.json').write_text(json.dumps(said))
    save_file(factors, folder / 'adapter_model.safetensors')
    return load_file(other / WEIGHTS)


def low_rank(module, rows, columns, rank=2):
    draw = torch.Generator().manual_seed(rows)
    name = f'base_model.model.{module}'
    return {
        f'{name}.lora_A.weight': torch.randn(rank, columns, generator=draw),
        f'{name}.lora_B.weight': torch.randn(rows, rank, generator=draw),
    }


def product(factors):
    down, up = factors.values()
    return up.double() @ down.double()


@pytest.mark.parametrize(
    ('config', 'scale'),
    [
        ({}, 4),
        ({'lora_alpha': 3}, 1.5),
        ({'use_rslora': True}, 8 / 2**0.5),
        ({'alpha_pattern': {'action_head': 10}}, 5),
        ({'alpha_pattern': {'head': 10}}, 4),
        ({'r': 4, 'rank_pattern': {'model.action_head': 2}}, 4),
    ],
)
def test_an_adapter_changes_its_base_by_the_scaled_product(copied, tmp_path, config, scale):
    folder, factors = copied('act'), low_rank(HEAD, 6, 32)
    base = adapted(folder, tmp_path, factors, **config)
    tensors = open_folder(folder).tensors
    expected = base[f'{HEAD}.weight'].double() + scale * product(factors)
    np.testing.assert_allclose(tensors[f'{HEAD}.weight'].numpy(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tensors[f'{WIDE}.weight'], base[f'{WIDE}.weight'], rtol=0, atol=0)


def test_the_policy_of_an_adapter_is_that_of_the_merged_weights(copied, tmp_path):
    folder = copied('act')
    factors = low_rank(HEAD, 6, 32) | low_rank(WIDE, 48, 32)
    bias = {f'base_model.model.{HEAD}.bias': torch.ones(6)}
    base = adapted(folder, tmp_path, factors | bias)
    error = parity(folder)['max_error']
    plain = tmp_path / 'plain'
    plain.mkdir()
    for path in folder.iterdir():
        if not path.name.startswith('adapter'):
            (plain / path.name).write_bytes(path.read_bytes())
    for module, rows in ((HEAD, 6), (WIDE, 48)):
        base[f'{module}.weight'] += 4 * product(low_rank(module, rows, 32)).float()
    save_file(base | {f'{HEAD}.bias': torch.ones(6)}, plain / WEIGHTS)
    assert error > 0.1
    assert parity(plain)['max_error'] == pytest.approx(error, rel=1e-4)
    assert folder_facts(folder).parameters > folder_facts(plain).parameters


def test_a_base_may_lie_in_the_cache(copied, tmp_path, monkeypatch):
    folder = copied('act')
    base = adapted(folder, tmp_path, low_rank(HEAD, 6, 32), base='someone/act_base')
    snapshot = tmp_path / 'hub/models--someone--act_base/snapshots/abc'
    snapshot.mkdir(parents=True)
    save_file(base, snapshot / WEIGHTS)
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path / 'hub'))
    assert len(open_folder(folder).tensors) == len(base)


@pytest.mark.parametrize(
    ('factors', 'config', 'expected'),
    [
        (
            low_rank(HEAD, 6, 32),
            {'base': 'someone/else'},
            "base 'someone/else', which is no folder",
        ),
        (low_rank(HEAD, 6, 32), {'peft_type': 'IA3'}, "peft_type 'IA3'; expected 'LORA'"),
        (low_rank(HEAD, 6, 32), {'use_dora': True}, 'use_dora True; expected False'),
        (low_rank(HEAD, 6, 32), {'bias': 'all'}, "bias 'all'; expected 'none'"),
        (low_rank(HEAD, 6, 32), {'r': 3}, r'lora_A of shape \[2, 32\] .*expected rank 3'),
        (low_rank(HEAD, 6, 31), {}, r'lora_A of shape \[2, 31\]'),
        (low_rank('model.nowhere', 6, 32), {}, 'model.nowhere.weight with .*of a tensor of the'),
        (dict(list(low_rank(HEAD, 6, 32).items())[:1]), {}, 'expected lora_A and lora_B'),
        ({}, {}, 'holds no lora_A and lora_B'),
        ({f'{HEAD}.lora_magnitude_vector': torch.ones(6)}, {}, 'which the base does not have'),
    ],
)
def test_an_adapter_that_does_not_fit_its_base_is_named(
    copied, tmp_path, factors, config, expected
):
    folder = copied('act')
    adapted(folder, tmp_path, factors, **config)
    with pytest.raises(CheckpointError, match=expected):
        open_folder(folder)


@pytest.mark.parametrize('config', [{'use_dora': True}, {'peft_type': 'IA3'}])
def test_an_adapter_that_is_not_read_is_told_before_it_is_loaded(copied, tmp_path, config):
    folder = copied('act')
    adapted(folder, tmp_path, low_rank(HEAD, 6, 32), **config)
    (sentence,) = folder_facts(folder).missing
    with pytest.raises(CheckpointError, match='Merge it into its base: merge_and_unload') as caught:
        open_folder(folder)
    assert sentence == str(caught.value)


def test_pi0_fast_is_refused_with_what_to_do(copied):
    folder = copied('pi0')
    rewrite(folder, 'config.json', lambda config: config.update(type='pi0_fast'))
    for read in (open_folder, folder_facts):
        with pytest.raises(CheckpointError, match=r"type 'pi0_fast'; expected one of act,.* train"):
            read(folder)


def test_a_tokenizer_is_taken_from_the_folder_before_the_cache(copied, hub, monkeypatch, tmp_path):
    folder = copied('smolvla')
    snapshot = next(
        (hub / 'models--HuggingFaceTB--SmolVLM2-500M-Video-Instruct/snapshots').iterdir()
    )
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path / 'empty'))
    with pytest.raises(CheckpointError, match=r'Copy tokenizer\.json and tokenizer_config\.json'):
        open_folder(folder)
    assert folder_facts(folder).tokenizer == ''
    assert 'SmolVLM2' in folder_facts(folder).missing[0]
    assert open_folder(folder, tokenizer=str(snapshot)).words is not None
    with pytest.raises(CheckpointError, match='is not in /nowhere'):
        open_folder(folder, tokenizer='/nowhere')
    for name in ('tokenizer.json', 'tokenizer_config.json'):
        (folder / name).write_bytes((snapshot / name).read_bytes())
    assert open_folder(folder).words.path.parent == folder
    assert folder_facts(folder).tokenizer == str(folder)


@pytest.mark.parametrize(('variable', 'below'), [('HF_HUB_CACHE', ''), ('HF_HOME', 'hub')])
def test_the_cache_is_where_its_variables_say(monkeypatch, tmp_path, hub, variable, below):
    monkeypatch.delenv('HF_HUB_CACHE')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    place = tmp_path / 'cache' / below
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(hub)
    with pytest.raises(CheckpointError, match='tokenizer google/paligemma'):
        open_folder(FIXTURES / 'pi0')
    monkeypatch.setenv(variable, str(tmp_path / 'cache'))
    assert open_folder(FIXTURES / 'pi0').words is not None


def test_a_group_is_refused_where_statistics_are_plain(copied):
    with pytest.raises(InvalidSettingError, match="unnorm_key is 'so100'"):
        open_folder(older(copied('act')), unnorm_key='so100')
