# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A damaged folder is one sentence, and is never run as if it were whole."""

import json

import pytest
import torch
from lerobot_folders import rewrite
from safetensors.torch import load_file, save_file

from efficient_vla.bench.parity import parity
from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.folder import open_folder

FILES = (
    'config.json',
    'model.safetensors',
    'policy_preprocessor.json',
    'policy_postprocessor.json',
    'policy_preprocessor_step_3_normalizer_processor.safetensors',
    'policy_postprocessor_step_0_unnormalizer_processor.safetensors',
)
WEIGHTS, BEFORE, AFTER = FILES[1], FILES[2], FILES[3]
STATE_STATISTICS, ACTION_STATISTICS = FILES[4], FILES[5]


def refused(folder, expected):
    """Check that a folder is refused by one sentence or two that match."""
    with pytest.raises(CheckpointError, match=expected) as caught:
        parity(folder)
    text = str(caught.value)
    assert '\n' not in text
    assert text.endswith('.')
    assert str(folder) in text
    assert len(text) < 600


@pytest.mark.parametrize('name', FILES)
def test_a_missing_file_is_named(copied, name):
    folder = copied('act')
    (folder / name).unlink()
    refused(folder, f'{name} is missing')


@pytest.mark.parametrize('name', FILES)
def test_an_empty_file_is_named(copied, name):
    folder = copied('act')
    (folder / name).write_bytes(b'')
    refused(folder, rf'{name} (is not JSON|cannot be read)')


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('share', [0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(copied, name, share):
    folder = copied('act')
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * share)])
    refused(folder, rf'{name} (is not JSON|cannot be read)')


@pytest.mark.parametrize('name', FILES)
def test_a_file_of_another_kind_is_named(copied, name):
    folder = copied('act')
    other = folder / ('config.json' if name.endswith('safetensors') else WEIGHTS)
    (folder / name).write_bytes(other.read_bytes())
    refused(folder, rf'{name} (is not JSON|cannot be read)')


def put(config, path, value):
    """Set the value under ``a.b.c``, or remove it with ``...``."""
    *way, last = path
    for word in way:
        config = config[word]
    if value is ...:
        del config[last]
    else:
        config[last] = value


STATE, FRONT = (
    ('input_features', 'observation.state'),
    ('input_features', 'observation.images.front'),
)
CONFIGS = [
    ('act', ('type',), 'acted', "type 'acted'; expected one of act"),
    ('act', ('type',), ['act'], r"type \['act'\]; expected one of act"),
    ('act', ('input_features',), ..., 'has no input_features'),
    ('act', ('input_features',), [], 'input_features is .*; expected an object'),
    ('act', ('output_features',), {}, 'output_features is .*; expected action alone'),
    ('act', ('use_peft',), True, 'has use_peft true, but no adapter_config.json is beside it'),
    ('act', ('max_state_dim',), 5, 'max_state_dim is 5; expected a whole number from 6'),
    ('act', ('max_action_dim',), 5, 'max_action_dim is 5; expected a whole number from 6'),
    ('act', (*STATE, 'shape'), [7], r'expected \{.*7.* as config.json has'),
    ('act', (*STATE, 'shape'), [6, 1], 'shape is .*; expected 1 whole numbers'),
    ('act', (*STATE, 'type'), 'VISUAL', 'shape is .*; expected 3 whole numbers'),
    ('act', (*STATE, 'type'), 'JOINTS', "'JOINTS'; expected STATE or VISUAL"),
    ('act', (*FRONT, 'shape'), [1, 48, 64], r'shape is \[1, 48, 64\]; expected \[3, rows'),
    ('act', (*FRONT, 'shape'), [3, 10**9, 64], 'expected .* to 8192 pixels'),
    ('act', (*FRONT, 'shape'), [3, '48', 64], 'expected 3 whole numbers'),
    ('act', ('output_features', 'action', 'shape'), [5], r'expected \{.*5.* as config.json has'),
    ('act', ('chunk_size',), 9, r'decoder_pos_embed.weight of shape \[8, 32\]; expected \[9, 32\]'),
    ('act', ('chunk_size',), '8', "chunk_size is '8'; expected a whole number"),
    ('act', ('chunk_size',), True, 'chunk_size is True; expected a whole number'),
    ('act', ('chunk_size',), ..., 'has no chunk_size'),
    ('act', ('dim_model',), 64, r'expected \[64, 32, 1, 1\]'),
    ('act', ('n_heads',), 5, 'dim_model is 32; expected a multiple of 4 and of n_heads 5'),
    ('act', ('dim_feedforward',), 47, r'linear1.weight of shape \[48, 32\]; expected \[47, 32\]'),
    ('act', ('n_encoder_layers',), 1, r'holds .*encoder.layers.1.*, which a policy .* not have'),
    ('act', ('n_encoder_layers',), 3, r'lacks model.encoder.layers.2.self_attn'),
    ('act', ('pre_norm',), True, 'lacks model.encoder.norm.weight'),
    ('act', ('pre_norm',), 'no', "pre_norm is 'no'; expected true or false"),
    ('act', ('pre_norm',), 2, 'pre_norm is 2; expected true or false'),
    ('act', ('pre_norm',), 1, 'lacks model.encoder.norm.weight'),
    ('act', ('vision_backbone',), 'vit_b', "'vit_b'; expected resnet18"),
    ('act', ('vision_backbone',), 'resnet50', 'layer1.0.conv1.weight of shape'),
    ('act', ('feedforward_activation',), 'glu', "'glu'; expected relu or gelu"),
    ('act', ('replace_final_stride_with_dilation',), True, 'is True; expected false for resnet18'),
    ('diffusion', ('horizon',), 15, 'horizon is 15; expected a multiple of 4'),
    ('diffusion', ('n_obs_steps',), 3, r'cond_encoder.1.weight of shape \[32, 92\]'),
    ('diffusion', ('down_dims',), [16, 25], 'down_dims is .*; expected multiples of n_groups'),
    ('diffusion', ('down_dims',), [16], r'holds .*up_modules|shape'),
    ('diffusion', ('crop_shape',), [49, 64], r'crop_shape is \[49, 64\]; expected at most \[48'),
    ('diffusion', ('crop_shape',), [20, 20], r'pool.pos_grid of shape \[4, 2\]; expected \[1'),
    ('diffusion', ('use_separate_rgb_encoder_per_camera',), False, 'lacks diffusion.rgb_encoder'),
    ('diffusion', ('kernel_size',), 3, r'shape \[16, 6, 5\]; expected \[16, 6, 3\]'),
    ('diffusion', ('n_action_steps',), 16, 'n_action_steps is 16; expected .* to 15'),
    ('diffusion', ('num_inference_steps',), 21, 'num_inference_steps is 21'),
    ('diffusion', ('beta_schedule',), 'sigmoid', "beta_schedule is 'sigmoid'"),
]


@pytest.mark.parametrize(('name', 'path', 'value', 'expected'), CONFIGS)
def test_a_configuration_that_does_not_fit_is_named(copied, name, path, value, expected):
    folder = copied(name)
    rewrite(folder, 'config.json', lambda config: put(config, path, value))
    refused(folder, expected)


def test_switches_may_be_numbers_as_the_trainer_writes_some(copied):
    folder = copied('act')
    rewrite(folder, 'config.json', lambda c: put(c, ('replace_final_stride_with_dilation',), 0))
    assert parity(folder)['max_error'] < 1e-4


def swap_cameras(config):
    features = config['input_features']
    config['input_features'] = dict(sorted(features.items(), reverse=True))


@pytest.mark.parametrize('name', ['act', 'diffusion', 'smolvla', 'pi0'])
def test_a_policy_without_images_is_refused(copied, name):
    folder = copied(name)

    def blind(config):
        config['input_features'] = {STATE[1]: config['input_features'][STATE[1]]}

    rewrite(folder, 'config.json', blind)
    refused(folder, 'expected at least one image')


def test_cameras_in_another_order_are_refused(copied):
    folder = copied('act')
    rewrite(folder, 'config.json', swap_cameras)
    refused(folder, 'order of features is .*; expected .*, as config.json has')


def change_tensors(path, change):
    """Rewrite a safetensors file."""
    held = load_file(path)
    save_file(change(held) or held, path)


def renamed(old, new):
    def change(held):
        held[new] = held.pop(old)

    return change


def replaced(name, make):
    def change(held):
        held[name] = make(held[name].clone())

    return change


def at(index, value):
    def make(tensor):
        tensor.view(-1)[index] = value
        return tensor

    return make


HEAD, NORM = 'model.action_head.weight', 'model.backbone.bn1'
TENSORS = [
    (renamed(HEAD, 'model.action_heads.weight'), f'lacks {HEAD}'),
    (lambda held: {k: v for k, v in held.items() if k != HEAD}, f'lacks {HEAD}'),
    (lambda held: held | {'model.extra': torch.ones(2)}, 'holds model.extra, which a policy'),
    (
        lambda held: held | {f'model.extra.{n}': torch.ones(2) for n in range(9)},
        'and 6 more, which a policy',
    ),
    (replaced(HEAD, lambda t: t[:5].contiguous()), r'shape \[5, 32\]; expected \[6, 32\]'),
    (replaced(HEAD, lambda t: t.T.contiguous()), r'shape \[32, 6\]; expected \[6, 32\]'),
    (replaced(HEAD, at(3, float('nan'))), f'1 values in {HEAD} that are not finite'),
    (replaced(HEAD, at(3, float('inf'))), f'1 values in {HEAD} that are not finite'),
    (replaced(HEAD, lambda t: t.to(torch.int8)), f'{HEAD} as I8; expected one of F64'),
    (replaced(HEAD, lambda t: t.to(torch.float8_e4m3fn)), f'{HEAD} as F8_E4M3'),
    (replaced(f'{NORM}.running_var', at(0, -1.0)), 'holds variances below 0'),
    (
        lambda held: held | {'model._orig_mod.action_head.weight': held[HEAD] + 1},
        f'{HEAD} twice',
    ),
    (lambda held: {'model.action_head.bias': held['model.action_head.bias']}, 'lacks model'),
    (lambda held: {f'module.{k}': v for k, v in held.items()}, 'lacks model'),
]


@pytest.mark.parametrize(('change', 'expected'), TENSORS)
def test_weights_that_do_not_fit_are_named(copied, change, expected):
    folder = copied('act')
    change_tensors(folder / WEIGHTS, change)
    refused(folder, expected)


MEAN = 'observation.state.mean'
STATISTICS = [
    (renamed(MEAN, 'observation.states.mean'), 'lacks mean of observation.state, which MEAN_STD'),
    (replaced(MEAN, lambda t: t[:5].contiguous()), r'mean of shape \[5\]; expected \[6\]'),
    (replaced(MEAN, lambda t: t[None].contiguous()), r'mean of shape \[1, 6\]; expected \[6\]'),
    (replaced(MEAN, at(0, float('nan'))), f'1 values in {MEAN} that are not finite'),
    (replaced(MEAN, lambda t: t.to(torch.int64)), f'{MEAN} as I64; expected'),
    (replaced('observation.state.std', at(0, -1.0)), 'observation.state with std below 0'),
    (lambda held: {'action.mean': held['action.mean']}, 'it has statistics of action'),
    (
        lambda held: {k: v for k, v in held.items() if 'front' not in k},
        'lacks mean of observation.images.front',
    ),
]


@pytest.mark.parametrize(('change', 'expected'), STATISTICS)
def test_statistics_that_do_not_fit_are_named(copied, change, expected):
    folder = copied('act')
    change_tensors(folder / STATE_STATISTICS, change)
    refused(folder, expected)


def test_statistics_of_actions_are_needed_too(copied):
    folder = copied('act')
    for name in (STATE_STATISTICS, ACTION_STATISTICS):
        change_tensors(folder / name, renamed('action.std', 'actions.std'))
    refused(folder, 'lacks std of action, which MEAN_STD reads')


def test_statistics_of_state_and_action_in_each_others_place_are_refused(copied):
    folder = copied('act')

    def swap(held):
        other = {'observation.state': 'action', 'action': 'observation.state'}
        parts = {name: name.rpartition('.') for name in held}
        return {f'{other.get(p[0], p[0])}.{p[2]}': held[name] for name, p in parts.items()}

    change_tensors(folder / STATE_STATISTICS, swap)
    refused(folder, 'say different things of action.max; expected the same statistics')


def test_a_range_upside_down_is_refused(copied):
    folder = copied('diffusion')
    for path in folder.glob('policy_*.safetensors'):
        change_tensors(path, replaced('action.min', at(2, 1e6)))
    refused(folder, 'statistics of action with max below min')


def step(number, *path):
    return ('steps', number, *path)


PROCESSORS = [
    ('act', BEFORE, ('steps',), {}, r'steps is \{\}; expected a list of steps'),
    ('act', BEFORE, ('steps',), [], r'steps is \[\]; expected a list of steps'),
    ('act', BEFORE, step(0), 'rename', r"steps\[0\] is 'rename'; expected an object"),
    ('act', BEFORE, step(0, 'registry_name'), ..., r'has no steps\[0\].registry_name'),
    ('act', BEFORE, step(0, 'registry_name'), 'flip', "a step 'flip'; expected some of rename"),
    ('act', BEFORE, step(0, 'config', 'rename_map'), {'a': 1}, 'rename_map.a is 1'),
    ('act', BEFORE, step(3), ..., 'has 0 steps normalizer_processor; expected one'),
    ('act', BEFORE, step(3, 'state_file'), ..., r'has no steps\[3\].state_file'),
    ('act', BEFORE, step(3, 'state_file'), '../x.safetensors', 'expected a file of the same'),
    ('act', BEFORE, step(3, 'state_file'), WEIGHTS, 'lacks mean of observation.images.front'),
    ('act', BEFORE, step(3, 'config', 'eps'), -1, 'eps is -1'),
    ('act', BEFORE, step(3, 'config', 'norm_map', 'STATE'), 'ZSCORE', "'ZSCORE'; expected IDENT"),
    ('act', BEFORE, step(3, 'config', 'features'), {}, 'is None; expected .*as config.json has'),
    ('act', BEFORE, step(3, 'config', 'features', 'action', 'type'), 'ACT', "'ACT'; expected"),
    ('act', AFTER, step(0), ..., 'has 0 steps unnormalizer_processor; expected one'),
    ('act', AFTER, step(0, 'config'), ..., r'has no steps\[0\].config'),
    ('act', BEFORE, step(3, 'config', 'norm_map', 'STATE'), 'IDENTITY', 'expected MEAN_STD, as co'),
    ('act', BEFORE, step(3, 'config', 'norm_map', 'STATE'), ..., 'has IDENTITY for STATE'),
    ('act', AFTER, step(0, 'config', 'norm_map', 'ACTION'), 'MIN_MAX', 'MIN_MAX for ACTION in nor'),
    ('act', AFTER, step(0, 'config', 'norm_map', 'ACTION'), ..., 'has IDENTITY for ACTION'),
    ('smolvla', BEFORE, step(2), ..., 'has 0 steps smolvla_new_line_processor; expected one'),
    ('smolvla', BEFORE, step(3), ..., 'has 0 steps tokenizer_processor; expected one'),
    ('pi05', BEFORE, step(2), ..., 'expected relative_actions_processor'),
    ('pi05', BEFORE, step(2, 'config', 'enabled'), False, 'from the state: policy_preproc'),
    ('pi05', BEFORE, step(4), ..., 'has 0 steps pi05_prepare_state_tokenizer_processor_step; exp'),
    ('pi05', AFTER, step(1), ..., 'preprocessor.json yes, policy_postprocessor.json no, config.js'),
    ('pi05', AFTER, step(1, 'config', 'enabled'), False, 'of whether actions are counted from'),
    ('smolvla', BEFORE, step(3, 'config', 'tokenizer_name'), 'no/where', 'tokenizer no/where is'),
    ('smolvla', BEFORE, step(3, 'config', 'max_length'), 0, 'max_length is 0'),
    ('smolvla', BEFORE, step(3, 'config', 'padding'), 'loose', "padding is 'loose'; expected max"),
    (
        'smolvla',
        BEFORE,
        step(3, 'config', 'task_key'),
        'words',
        "task_key 'words'; expected 'task'",
    ),
]


@pytest.mark.parametrize(('name', 'file', 'path', 'value', 'expected'), PROCESSORS)
def test_processors_that_do_not_fit_are_named(copied, name, file, path, value, expected):
    folder = copied(name)
    rewrite(folder, file, lambda found: put(found, path, value))
    refused(folder, expected)


@pytest.mark.parametrize(
    ('file', 'first', 'second', 'expected'),
    [
        (AFTER, 0, 1, 'has absolute_actions_processor before unnormalizer_processor; expected it'),
        (BEFORE, 2, 3, 'has normalizer_processor before relative_actions_processor'),
        (BEFORE, 3, 4, 'has pi05_prepare_state_tokenizer_processor_step before normalizer_process'),
        (BEFORE, 4, 5, 'has tokenizer_processor before pi05_prepare_state_tokenizer_processor_st'),
    ],
)
def test_steps_in_each_others_place_are_refused(copied, file, first, second, expected):
    folder = copied('pi05')

    def swap(found):
        steps = found['steps']
        steps[first], steps[second] = steps[second], steps[first]

    rewrite(folder, file, swap)
    refused(folder, expected)


def test_two_normalizers_are_refused(copied):
    folder = copied('act')
    rewrite(folder, AFTER, lambda file: file['steps'].append(file['steps'][0]))
    refused(folder, 'has 2 steps unnormalizer_processor; expected one')


TOKENIZER = 'models--HuggingFaceTB--SmolVLM2-500M-Video-Instruct'
PALIGEMMA = 'models--google--paligemma-3b-pt-224'


@pytest.fixture
def own_tokenizer(copied, hub):
    """Return a folder of SmolVLA that has its tokenizer in itself."""
    folder = copied('smolvla_base')
    lend(folder, hub / TOKENIZER)
    return folder


def lend(folder, model):
    """Copy the tokenizer of a model in the cache into a folder."""
    (snapshot,) = (model / 'snapshots').iterdir()
    for name in ('tokenizer.json', 'tokenizer_config.json'):
        (folder / name).write_bytes((snapshot / name).read_bytes())


@pytest.mark.parametrize(
    ('name', 'data', 'expected'),
    [
        ('tokenizer.json', '', 'tokenizer.json is no tokenizer'),
        ('tokenizer.json', '{"model": {}}', 'tokenizer.json is no tokenizer'),
        ('tokenizer_config.json', None, 'tokenizer_config.json is missing'),
        ('tokenizer_config.json', '{', 'tokenizer_config.json is not JSON'),
        ('tokenizer_config.json', '{}', 'names None as pad_token; expected a token'),
        ('tokenizer_config.json', '{"pad_token": "<none>"}', "names '<none>' as pad_token"),
        ('tokenizer_config.json', '{"pad_token": 3}', 'names 3 as pad_token'),
    ],
)
def test_a_damaged_tokenizer_is_named(own_tokenizer, name, data, expected):
    path = own_tokenizer / name
    path.unlink()
    if data is not None:
        path.write_text(data)
    refused(own_tokenizer, expected)


def test_a_tokenizer_with_words_beyond_the_embeddings_is_refused(own_tokenizer):
    def grow(found):
        place = max(found['model']['vocab'].values()) + 1
        found['model']['vocab'] |= {'word': place}

    rewrite(own_tokenizer, 'tokenizer.json', grow)
    refused(own_tokenizer, 'has 321 tokens; the policy has embeddings of 320. Copy both files')


@pytest.mark.parametrize(
    ('name', 'other', 'expected'),
    [
        ('smolvla', PALIGEMMA, 'names None as fake_image_token; expected a token'),
        ('pi0', TOKENIZER, r'begins every text with the tokens \[\]; expected \[1\]'),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(copied, hub, name, other, expected):
    """Both have as many tokens; the ids of a text are others."""
    folder = copied(name)
    lend(folder, hub / other)
    refused(folder, expected)


def test_a_token_for_images_alone_may_have_no_embedding(copied, hub):
    folder = copied('pi0')
    lend(folder, hub / PALIGEMMA)
    image = {'id': 320, 'content': '<image>', 'special': True}
    flags = dict.fromkeys(('single_word', 'lstrip', 'rstrip', 'normalized'), False)
    rewrite(folder, 'tokenizer.json', lambda found: found['added_tokens'].append(image | flags))
    assert open_folder(folder).words.ids('<image>') == [2, 320]
    assert parity(folder)['max_error'] < 1e-4


VLM = 'model.vlm_with_expert.vlm.model'
EXPERT = 'model.vlm_with_expert.lm_expert.layers'
PALI = 'model.paligemma_with_expert.paligemma.model'


def without(begin):
    return lambda held: {name: value for name, value in held.items() if not name.startswith(begin)}


PREFIX_TENSORS = [
    ('smolvla', without('model.state_proj.weight'), 'lacks model.state_proj.weight'),
    ('smolvla', without('model.action_time_mlp_in.bias'), 'lacks model.action_time_mlp_in.bias'),
    ('smolvla', without(f'{EXPERT}.3.'), 'num_expert_layers'),
    ('smolvla', without(f'{EXPERT}.1.mlp.up_proj'), 'lacks .*1.mlp.up_proj.weight'),
    ('smolvla', without(f'{VLM}.text_model.layers.3.'), 'num_vlm_layers is 4; expected 3'),
    ('smolvla', without(f'{VLM}.vision_model.encoder.layers.1.mlp.fc1'), 'layers.1.mlp.fc1'),
    ('smolvla', without(f'{VLM}.connector'), 'connector.modality_projection.proj.weight'),
    ('smolvla', replaced('model.state_proj.weight', lambda t: t[:, :6].contiguous()), 'shape'),
    ('smolvla', replaced('model.action_in_proj.weight', lambda t: t[:, :7].contiguous()), 'shape'),
    ('smolvla', replaced(f'{VLM}.text_model.embed_tokens.weight', at(9, float('nan'))), 'finite'),
    ('smolvla', replaced(f'{EXPERT}.0.self_attn.q_proj.weight', at(9, float('nan'))), 'finite'),
    ('smolvla', lambda held: held | {'model.extra': torch.ones(2)}, 'holds model.extra, which'),
    ('pi0', without('model.state_proj.bias'), 'lacks model.state_proj.bias'),
    ('pi0', without(f'{PALI}.multi_modal_projector'), 'lacks .*multi_modal_projector'),
    ('pi0', without('model.paligemma_with_expert.gemma_expert.model.layers.2.'), 'expert'),
    ('pi05', without('model.time_mlp_in.weight'), 'lacks model.time_mlp_in.weight'),
    ('pi05', lambda held: held | {'model.state_proj.bias': torch.ones(2)}, 'state_proj.bias'),
]


@pytest.mark.parametrize(('name', 'change', 'expected'), PREFIX_TENSORS)
def test_weights_of_language_policies_that_do_not_fit_are_named(copied, name, change, expected):
    folder = copied(name)
    change_tensors(folder / WEIGHTS, change)
    refused(folder, expected)


PREFIX_CONFIGS = [
    ('smolvla', ('attention_mode',), 'wide', "attention_mode is 'wide'; expected cross_attn"),
    ('smolvla', ('num_steps',), 0, 'num_steps is 0'),
    ('smolvla', ('resize_imgs_with_padding',), [64], 'resize_imgs_with_padding is'),
    ('smolvla', ('chunk_size',), 0, 'chunk_size is 0'),
    ('smolvla', ('max_state_dim',), 16, 'state_proj.weight of shape'),
    ('smolvla', ('max_action_dim',), 16, 'shape'),
    ('smolvla', ('adapt_to_pi_aloha',), True, 'adapt_to_pi_aloha True; expected False'),
    ('smolvla', ('n_action_steps',), 9, 'n_action_steps is 9; expected'),
    ('pi0', ('image_resolution',), [28, 29], 'image_resolution|28'),
    ('pi0', ('num_inference_steps',), 'ten', "num_inference_steps is 'ten'"),
    ('pi05', ('min_period',), 0, 'min_period is 0'),
]


@pytest.mark.parametrize(('name', 'path', 'value', 'expected'), PREFIX_CONFIGS)
def test_configurations_of_language_policies_that_do_not_fit_are_named(
    copied, name, path, value, expected
):
    folder = copied(name)
    rewrite(folder, 'config.json', lambda config: put(config, path, value))
    refused(folder, expected)


def test_a_file_that_is_no_text_is_named(copied):
    folder = copied('act')
    (folder / 'config.json').write_bytes(b'\xff\xfe\x00')
    refused(folder, 'config.json is not JSON')


def test_a_configuration_that_is_a_list_is_named(copied):
    folder = copied('act')
    (folder / 'config.json').write_text(json.dumps([1]))
    refused(folder, 'config.json holds a list; expected an object')
