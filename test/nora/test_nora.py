# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""NORA against transformers' own generation and the formulas, for the same weights."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_nora import CHAT, SCALE, SMALLEST, fast_ids, statistics, tokenizer_of, write_folder
from tokenizers import Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from turned import robot_rows

from efficient_vla.cli.options import policy_given
from efficient_vla.errors import CheckpointError
from efficient_vla.nora.fast import PublishedFast
from efficient_vla.nora.folder import read_fast, read_folder
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts, policy_type
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import ControlMode, InvalidRecordError

TASK = 'Open the drawer'
NAMED = {'joints_rate': 5.0, 'device': 'cpu', 'unnorm_key': 'bridge_orig'}
TOKENS = {'head': 'tokens', 'tokens_tokenizer': 'fast'}
GROUPS = {'bridge_orig': statistics(3), 'other': statistics(4)}


def made(folder: Path, **options):
    folder.mkdir()
    return folder, write_folder(folder, GROUPS, **options)


@pytest.fixture(scope='module')
def tied(tmp_path_factory):
    """Return a NORA whose output layer is its embedding and whose penalty counts."""
    return made(tmp_path_factory.mktemp('nora') / 'tied', penalty=1.3)


@pytest.fixture(scope='module')
def apart(tmp_path_factory):
    """Return a NORA with an output layer of its own, which says chunks and never ends."""
    return made(tmp_path_factory.mktemp('nora') / 'apart', tied=False)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (60, 80, 3), np.uint8)


def generated(model, folder: Path, image: np.ndarray, count: int) -> list[int]:
    """Return what transformers generates for an image and a sentence."""
    seen = Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)
    said = json.loads((folder / 'preprocessor_config.json').read_text())
    pictures = Qwen2VLImageProcessorPil(patch_size=56, do_resize=False, **said)(
        seen, return_tensors='pt'
    )
    tokenizer = tokenizer_of(folder)
    text = CHAT.format(image='<|image_pad|>' * 4, sentence=TASK)
    ids = tokenizer(text, return_tensors='pt')['input_ids']
    pad = tokenizer.convert_tokens_to_ids('<|image_pad|>')
    found = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == pad).int(),
        **pictures,
        do_sample=False,
        max_new_tokens=count,
    )
    return found[0, ids.shape[1] :].tolist()


def said_by(policy: Policy, image: np.ndarray) -> list[int]:
    """Return the tokens behind the last chunk, whether or not they make one."""
    with contextlib.suppress(InvalidRecordError):
        policy.act(image, TASK)
    return policy.actor.generator._said


@pytest.mark.parametrize('method', ['auto', 'autoregressive', 'jacobi', 'speculative'])
@pytest.mark.parametrize('folder', ['tied', 'apart'])
def test_every_decoding_says_what_transformers_generates(request, folder, method, image):
    path, model = request.getfixturevalue(folder)
    options = {} if method == 'auto' else {**TOKENS, 'decoding_method': method}
    policy = Policy.from_pretrained(path, **NAMED, nora_chunk=2, **options)
    expected = generated(model, path, image, 29)
    assert len(set(expected)) > 3
    assert said_by(policy, image) == expected
    # A second chunk, of which the first is the draft.
    other = image[::-1].copy()
    assert said_by(policy, other) == generated(model, path, other, 29)


def test_the_profile_of_the_system_changes_nothing(tied, image, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    under = Policy.from_pretrained(policy_given(f'nora={tied[0]}', 'metaworld'), **NAMED)
    assert said_by(under, image) == said_by(Policy.from_pretrained(tied[0], **NAMED), image)


def test_any_token_that_ends_an_answer_ends_the_line(tied, tmp_path, image):
    path, model = tied
    folder = Path(shutil.copytree(path, tmp_path / 'copy'))
    tokens = generated(model, path, image, 12)
    last = next(n for n in range(4, 12) if tokens[n] not in tokens[:n])
    told = json.loads((folder / 'generation_config.json').read_text())
    told['eos_token_id'] = [told['eos_token_id'][0], tokens[last]]
    (folder / 'generation_config.json').write_text(json.dumps(told))
    said = said_by(Policy.from_pretrained(folder, **NAMED), image)
    assert said == [*tokens[:last], told['eos_token_id'][0]]


def test_a_chunk_is_the_inverse_transform_of_what_was_said(apart, image):
    """Two rows: the mean and half the difference, each by a factor of the square root of 2."""
    path, model = apart
    chunk = Policy.from_pretrained(path, **NAMED, nora_chunk=2).act(image, TASK)
    names = {token: n for n, token in enumerate(read_folder(path).actions)}
    ids = [names[token] for token in generated(model, path, image, 29)]
    text = Tokenizer.from_file(str(path / 'fast' / 'tokenizer.json')).decode(ids)
    low, high = np.array([ord(letter) + SMALLEST for letter in text[:14]]).reshape(2, 7) / SCALE
    rows = np.stack([(low + high) / np.sqrt(2), (low - high) / np.sqrt(2)])
    told = GROUPS['bridge_orig']['action']
    q01, q99 = np.array(told['q01']), np.array(told['q99'])
    expected = 0.5 * (rows.clip(-1.25, 1.25) + 1) * (q99 - q01) + q01
    expected[:, 6] = rows[:, 6].clip(-1.25, 1.25)
    np.testing.assert_allclose(chunk.actions, robot_rows(expected, 'opening'), atol=1e-5)
    assert chunk.names == ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'gripper')
    assert chunk.control_mode == ControlMode.EE_DELTA
    assert chunk.dt == pytest.approx(0.2)
    assert 'coefficients too many' in chunk.note
    assert 'the end was missing' in chunk.note


def test_tokens_are_read_back_as_the_chunk_that_was_encoded(apart):
    fast = PublishedFast(read_fast(apart[0], ''), 3, 2)
    chunk = np.array([[0.5, -0.2], [0.1, 0.0], [-0.4, 0.3]])
    basis = np.array(
        [
            [np.cos(np.pi * k * (t + 0.5) / 3) * np.sqrt(norm / 3) for t in range(3)]
            for k, norm in enumerate((1, 2, 2))
        ]
    )
    ids = fast_ids(apart[0] / 'fast', np.round(basis @ chunk * SCALE))
    found, note = fast.decode(ids)
    assert note == ''
    np.testing.assert_allclose(found, basis.T @ np.round(basis @ chunk * SCALE) / SCALE, atol=1e-6)
    short, note = fast.decode(fast_ids(apart[0] / 'fast', np.array([[3, -2, 1]])))
    assert note == '3 of 6 coefficients were missing: taken as 0'
    assert not torch.allclose(short[0], short[2])
    with pytest.raises(InvalidRecordError, match='1 coefficients; expected 6'):
        fast.decode(fast_ids(apart[0] / 'fast', np.array([[3]])))


def test_bytes_that_make_no_letter_end_the_line(apart):
    path = apart[0] / 'fast'
    half = Tokenizer.from_file(str(path / 'tokenizer.json')).token_to_id('Ã')
    fast = PublishedFast(read_fast(apart[0], ''), 1, 2)
    ids = fast_ids(path, np.array([[3, -2]]))
    _, note = fast.decode([*ids, half, *ids])
    assert note == 'tokens made no letter: what follows is left out'


def test_tokens_are_dropped_and_reused(apart, image):
    path, _ = apart
    pruned = Policy.from_pretrained(
        path,
        **NAMED,
        pruning_method='fastv',
        pruning_layer=1,
        pruning_keep=0.5,
        pruning_min_tokens=1,
    )
    pruned.act(image, TASK)
    assert len(pruned._plan.kept) == 2
    dense = Policy.from_pretrained(path, **NAMED).act(image, TASK)
    again = Policy.from_pretrained(path, **NAMED, reuse_method='vla_cache')
    again.act(image, TASK, stamp=0.0)
    same = again.act(image, TASK, stamp=0.1)
    assert len(again._plan.reused) > 0
    np.testing.assert_allclose(same.actions, dense.actions, atol=1e-4)


def test_the_folder_says_what_it_is(tied):
    path, model = tied
    assert policy_type(path) == 'nora'
    facts = folder_facts(path)
    assert facts.kind == 'nora'
    assert facts.action_names == ('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper')
    assert facts.parameters == sum(weight.numel() for weight in model.parameters())
    assert facts.groups == ('bridge_orig', 'other')
    assert facts.one_process


def test_a_mask_leaves_columns_as_they_are(apart, tmp_path, image):
    folder = Path(shutil.copytree(apart[0], tmp_path / 'copy'))
    told = {'bridge_orig': statistics(3, mask=False)}
    (folder / 'norm_stats.json').write_text(json.dumps(told))
    given = {**NAMED, 'nora_gripper': 'effort', 'unnorm_key': ''}
    whole = Policy.from_pretrained(folder, **given).act(image, TASK).actions
    masked = Policy.from_pretrained(apart[0], **NAMED, nora_gripper='effort')
    part = masked.act(image, TASK).actions
    np.testing.assert_allclose(whole[:, :7], part[:, :7])
    q01, q99 = told['bridge_orig']['action']['q01'][6], told['bridge_orig']['action']['q99'][6]
    expected = (0.5 * (masked.actor._made[-1].normalised[:, 6] + 1) * (q99 - q01) + q01).clip(-1, 1)
    np.testing.assert_allclose(whole[:, 7], expected, atol=1e-6)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (
            {'decoding_method': 'parallel', 'tokens_tokenizer': 'bins'},
            'decoding.method is parallel, for which no NORA',
        ),
        (
            {'decoding_method': 'consistency'},
            'is consistency with tokens.tokenizer fast',
        ),
        (
            {'decoding_method': 'speculative', 'decoding_accept': 2, 'tokens_tokenizer': 'bins'},
            'decoding.accept is 2 with a NORA; expected 0',
        ),
        ({'unnorm_key': 'nowhere'}, "unnorm_key is 'nowhere'.*bridge_orig, other"),
        ({'head': 'regression'}, 'head regression, while a NORA names tokens'),
        ({'resampling_method': 'otter'}, 'resampling.method is otter; expected none'),
        ({'joints_rate': 0.0}, 'joints.rate'),
        ({'cameras': ('left', 'right')}, 'cameras are left, right; expected one'),
    ],
)
def test_what_no_nora_can_do_is_refused_by_name(tied, options, expected):
    given = {**NAMED, **TOKENS, 'decoding_method': 'autoregressive', **options}
    with pytest.raises(InvalidSettingError, match=expected):
        Policy.from_pretrained(tied[0], **given)


@pytest.mark.parametrize(
    ('name', 'change', 'expected'),
    [
        ('generation_config.json', {'eos_token_id': None}, 'eos_token_id None; expected'),
        ('generation_config.json', {'repetition_penalty': 'x'}, "repetition_penalty 'x'"),
        ('generation_config.json', None, 'generation_config.json'),
        ('norm_stats.json', None, 'no statistics'),
        ('preprocessor_config.json', None, 'image_mean'),
        ('fast/processor_config.json', {'scale': 0}, 'scale 0'),
        ('fast/tokenizer.json', None, 'has no tokenizer.json of the tokenizer FAST'),
        ('model.safetensors', None, 'model.safetensors is missing'),
    ],
)
def test_a_damaged_folder_is_refused_by_a_sentence(tied, tmp_path, name, change, expected):
    folder = Path(shutil.copytree(tied[0], tmp_path / 'copy'))
    if change is None:
        (folder / name).unlink()
    else:
        told = json.loads((folder / name).read_text()) | change
        (folder / name).write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=expected):
        Policy.from_pretrained(folder, **NAMED)


def test_a_fast_with_more_tokens_than_the_vocabulary_names_is_refused(tied, tmp_path):
    folder = Path(shutil.copytree(tied[0], tmp_path / 'copy'))
    path = folder / 'tokenizer.json'
    told = json.loads(path.read_text())
    last = '<robot_action_256>'
    told['added_tokens'] = [t for t in told['added_tokens'] if t['content'] != last]
    path.write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=r'has 256 tokens .* FAST has 257'):
        Policy.from_pretrained(folder, **NAMED)
