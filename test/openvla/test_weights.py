# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Every tensor is read or known to be without effect, and weights that cannot be right."""

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_openvla import (
    ACTIONS,
    CONFIG,
    DEPTH,
    HIDDEN,
    LAYERS,
    MLPS,
    SIDE,
    STATES,
    TEXT,
    add_oft,
    oft_parts,
    statistics,
    write_folder,
)

from efficient_vla.action.settings import ActorSettings
from efficient_vla.errors import CheckpointError
from efficient_vla.joint_settings import JointSettings
from efficient_vla.openvla import load_actor, load_perception, load_reasoner
from efficient_vla.openvla.folder import read_folder
from efficient_vla.openvla.weights import without_effect
from efficient_vla.openvla_settings import OpenVlaActions, OpenVlaPlans
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.policy_folders import folder_facts, policy_type
from efficient_vla.reasoning.settings import ReasonerSettings

JOINTS = JointSettings(rate=5.0, state_names=tuple('abcdefgh'))
PLANS = ReasonerSettings(device='cpu', joints=JOINTS, unnorm_key='bridge_orig')
ACTIONS_OF = ActorSettings(
    device='cpu',
    joints=JOINTS,
    unnorm_key='bridge_orig',
    openvla=OpenVlaActions(gripper='opening'),
)


def load_all(folder):
    """Load the three stages."""
    chunk = OpenVlaPlans(chunk=2 if read_folder(folder).oft else 0)
    return (
        load_perception(folder, PerceptionSettings(device='cpu')),
        load_reasoner(folder, replace(PLANS, openvla=chunk)),
        load_actor(folder, ACTIONS_OF),
    )


def rewritten(folder, change):
    """Apply ``change`` to the tensors of each shard, and write the index anew."""
    placed = {}
    for path in sorted(folder.glob('*.safetensors')):
        tensors = load_file(path)
        change(tensors)
        path.unlink()
        save_file(tensors, path)
        placed |= dict.fromkeys(tensors, path.name)
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': placed}))
    return folder


def test_every_tensor_is_read_or_without_effect(folder, weights):
    perception, reasoner, actor = load_all(folder)
    read = [
        *perception.tower.state_dict().values(),
        *reasoner.trunk.state_dict().values(),
        *actor.generator.state_dict().values(),
    ]
    idle = set(without_effect(read_folder(folder).entries()))
    expected = {
        name
        for name in weights
        if re.search(rf'featurizer\.(blocks\.{DEPTH - 1}\.|norm\.|attn_pool\.)', name)
    }
    assert idle == expected
    used = sum(value.numel() for name, value in weights.items() if name not in idle)
    assert sum(value.numel() for value in read) == used


def test_tensors_without_effect_change_no_token(folder, copied):
    def disturb(tensors):
        for name in tensors:
            if f'blocks.{DEPTH - 1}.' in name or 'attn_pool' in name or 'featurizer.norm' in name:
                tensors[name] = tensors[name] + 1

    pixels = torch.randn(1, 6, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    settings = PerceptionSettings(device='cpu')
    before = load_perception(folder, settings).tower(pixels)
    after = load_perception(rewritten(copied, disturb), settings).tower(pixels)
    assert torch.equal(before, after)


LLAMA = 'language_model.model'
DAMAGE = {
    'a tower without a patch embedding': (
        lambda t: t.pop('vision_backbone.featurizer.patch_embed.proj.weight', None),
        'patch_embed.proj.weight',
    ),
    'a tower without registers': (
        lambda t: t.pop('vision_backbone.featurizer.reg_token', None),
        'reg_token',
    ),
    'a tower without a bias': (
        lambda t: t.pop('vision_backbone.fused_featurizer.blocks.0.attn.qkv.bias', None),
        'qkv.bias',
    ),
    'a projector without its last layer': (
        lambda t: t.pop('projector.fc3.weight', None),
        'projector.fc3.weight',
    ),
    'a decoder without a projection': (
        lambda t: t.pop(f'{LLAMA}.layers.1.self_attn.k_proj.weight', None),
        'layers.1.self_attn.k_proj.weight',
    ),
    'a decoder without its last norm': (lambda t: t.pop(f'{LLAMA}.norm.weight', None), 'norm'),
    'no output layer': (lambda t: t.pop('language_model.lm_head.weight', None), 'lm_head'),
    'NaN in a tower': (
        lambda t: (
            t['vision_backbone.featurizer.pos_embed'].fill_(float('nan'))
            if 'vision_backbone.featurizer.pos_embed' in t
            else None
        ),
        'not finite',
    ),
    'NaN in the decoder': (
        lambda t: (
            t[f'{LLAMA}.layers.0.mlp.up_proj.weight'].fill_(float('inf'))
            if f'{LLAMA}.layers.0.mlp.up_proj.weight' in t
            else None
        ),
        'not finite',
    ),
    'a layer more than the configuration says': (
        lambda t: t.update({f'{LLAMA}.layers.{LAYERS}.mlp.up_proj.weight': torch.ones(2)}),
        f'layers.{LAYERS}',
    ),
    'another model beside it': (lambda t: t.update(audio_tower=torch.ones(1)), 'audio_tower'),
    'updates that were not merged': (
        lambda t: t.update({f'{LLAMA}.layers.0.mlp.up_proj.lora_A.weight': torch.ones(1)}),
        'merged',
    ),
    'embeddings of another width': (
        lambda t: (
            t.update({f'{LLAMA}.embed_tokens.weight': torch.ones(32064, HIDDEN - 8)})
            if f'{LLAMA}.embed_tokens.weight' in t
            else None
        ),
        'embed_tokens',
    ),
    'a table of positions of another image': (
        lambda t: (
            t.update({'vision_backbone.featurizer.pos_embed': torch.ones(1, 16, 32)})
            if 'vision_backbone.featurizer.pos_embed' in t
            else None
        ),
        'pixels',
    ),
    'a bias of another length': (
        lambda t: (
            t.update({'projector.fc1.bias': torch.ones(MLPS[0])})
            if 'projector.fc1.bias' in t
            else None
        ),
        'projector.fc1.bias',
    ),
}


@pytest.mark.parametrize('name', list(DAMAGE))
def test_damaged_weights_are_named(copied, name):
    change, message = DAMAGE[name]
    rewritten(copied, change)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        load_all(copied)


@pytest.mark.parametrize(
    'text',
    [
        TEXT | {'hidden_size': HIDDEN + 8},
        TEXT | {'num_hidden_layers': LAYERS + 1},
        TEXT | {'num_attention_heads': 'four'},
        TEXT | {'vocab_size': 32128},
    ],
)
def test_a_configuration_of_other_weights_is_refused(copied, text):
    config = copied / 'config.json'
    config.write_text(json.dumps(json.loads(config.read_text()) | {'text_config': text}))
    with pytest.raises(CheckpointError):
        load_reasoner(copied, PLANS)


@pytest.fixture
def oft_copied(copied):
    return add_oft(copied, oft_parts(), {'bridge_orig': statistics(5)})


class Opener:
    """What a malicious file may hold."""

    def __reduce__(self):
        return (open, ('stolen', 'w'))


@pytest.mark.parametrize('part', ['action_head', 'proprio_projector'])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda tensors: tensors.pop('module.fc1.bias', None), 'fc1.bias'),
        (lambda tensors: tensors.update(extra=torch.ones(1)), 'extra'),
        (lambda tensors: tensors.update(extra='text'), 'no tensors by name'),
        (lambda tensors: tensors.update(extra=Opener()), 'tensors alone'),
    ],
)
def test_parts_of_oft_hold_tensors_that_fit_and_nothing_else(oft_copied, part, change, message):
    parts = oft_parts()
    if message == 'fc1.bias' and part == 'action_head':
        parts[part].pop('module.model.fc1.bias')
        message = 'model.fc1.bias'
    else:
        change(parts[part])
    torch.save(parts[part], oft_copied / f'{part}--150000_checkpoint.pt')
    with pytest.raises(CheckpointError, match=message):
        load_all(oft_copied)
    assert not (oft_copied / 'stolen').exists()


def test_a_cut_part_is_named(oft_copied):
    path = oft_copied / 'action_head--150000_checkpoint.pt'
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match='action_head'):
        load_all(oft_copied)


def test_a_head_of_another_robot_is_refused(copied):
    add_oft(copied, oft_parts(actions=14), {'bridge_orig': statistics(5)})
    with pytest.raises(CheckpointError, match='action_head'):
        load_all(copied)


def test_parts_without_the_prefix_of_several_processes_load_too(oft_copied):
    for part, tensors in oft_parts().items():
        plain = {name.removeprefix('module.'): value for name, value in tensors.items()}
        torch.save(plain, oft_copied / f'{part}--150000_checkpoint.pt')
    load_all(oft_copied)


def test_weights_in_one_file_and_bfloat16_load(tmp_path, weights):
    path = write_folder(tmp_path / 'one', weights, {'bridge_orig': statistics(3)})
    for file in path.glob('model*'):
        file.unlink()
    half = {name: value.bfloat16() for name, value in weights.items()}
    save_file(half, path / 'model.safetensors')
    _, reasoner, _ = load_all(path)
    assert reasoner.trunk.decoder.embed_tokens.weight.dtype == torch.float32


def test_the_facts_need_no_weights(oft, folder):
    assert policy_type(oft) == 'openvla'
    found = folder_facts(oft)
    assert (found.kind, found.state_width, found.action_width) == ('openvla-oft', STATES, ACTIONS)
    assert found.action_names[3:] == ('roll', 'pitch', 'yaw', 'gripper')
    assert found.parameters == folder_facts(folder).parameters
    assert found.memory_mb == pytest.approx(found.parameters * 4 / 1e6)
    assert found.missing == ()
    assert found.groups == ()
    assert folder_facts(folder).groups == ('bridge_orig', 'fractal20220817_data')
    assert folder_facts(folder).one_process
    assert 'actor.decoding.method' in folder_facts(folder).techniques
    assert 'actor.decoding.method' not in found.techniques


def test_the_facts_name_weights_that_are_not_there(copied):
    for path in copied.glob('*.safetensors'):
        path.unlink()
    found = folder_facts(copied)
    assert (found.kind, found.parameters) == ('openvla', 0)
    assert [line for line in found.missing if 'model-00002-of-00002.safetensors is missing' in line]


def test_an_adapter_beside_merged_weights_is_not_read(copied):
    (copied / 'lora_adapter').mkdir()
    load_all(copied)


def test_a_folder_without_a_tokenizer_says_which_file_to_copy(copied):
    (copied / 'tokenizer.json').unlink()
    with pytest.raises(CheckpointError, match=r'tokenizer\.json is missing'):
        load_reasoner(copied, PLANS)
    (copied / 'tokenizer.json').write_text('{}')
    with pytest.raises(CheckpointError, match='no tokenizer'):
        load_reasoner(copied, PLANS)


def test_code_beside_the_weights_is_not_run(copied):
    (copied / 'configuration_prismatic.py').write_text('raise SystemExit("ran")')
    assert 'auto_map' in CONFIG
    load_all(copied)
