# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole policies against what transformers and the formulas give for the same weights."""

import numpy as np
import pytest
import torch
from tiny_openvla import (
    ACTIONS,
    FIRST_BIN,
    HIDDEN,
    STATES,
    TEXT,
    UNUSED,
    VOCABULARY,
    oft_parts,
    statistics,
)
from tokenizers import Tokenizer
from torch.nn.functional import gelu, layer_norm, relu
from transformers import LlamaConfig, LlamaForCausalLM
from turned import robot_rows

from efficient_vla.cli.options import policy_given
from efficient_vla.openvla.folder import read_folder
from efficient_vla.openvla.images import pixels, square
from efficient_vla.openvla.weights import load_tower
from efficient_vla.policy import Policy
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import ControlMode, InvalidRecordError, RefusedChunkError

TASK = 'Pick up the black bowl'
NAMED = {'joints_rate': 5.0, 'openvla_gripper': 'opening', 'device': 'cpu'}
BASE = {**NAMED, 'unnorm_key': 'bridge_orig'}
CHUNK = 4
OFT = {
    **NAMED,
    'openvla_chunk': CHUNK,
    'joints_state_names': tuple(f'state_{index}' for index in range(STATES)),
}


@pytest.fixture(scope='module')
def llama(weights) -> LlamaForCausalLM:
    model = LlamaForCausalLM(LlamaConfig(**TEXT, attn_implementation='eager'))
    prefix = 'language_model.'
    model.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if prefix in k})
    return model.eval().requires_grad_(False)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture
def state() -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, STATES).astype(np.float32)


def visual_tokens(folder, *images: np.ndarray) -> torch.Tensor:
    """Return the projected patches of some images, [V, D]."""
    found = read_folder(folder)
    tower = load_tower(found, torch.float32)
    seen = [pixels(square(image, found.images, 1.0), found.images) for image in images]
    with torch.no_grad():
        return tower(torch.from_numpy(np.stack(seen))).flatten(0, 1)


def word_ids(folder, sentence: str) -> list[int]:
    tokenizer = Tokenizer.from_file(str(folder / 'tokenizer.json'))
    prompt = f'In: What action should the robot take to {sentence.lower()}?\nOut:'
    return [*tokenizer.encode(prompt).ids, 29871]


def greedy(llama, folder, visual: torch.Tensor, count: int = ACTIONS) -> list[int]:
    """Return the tokens that transformers' own model names one after the other."""
    words = llama.model.embed_tokens(torch.tensor(word_ids(folder, TASK)))
    rows = torch.cat([words[:1], visual, words[1:]])
    named: list[int] = []
    for _ in range(count):
        token = int(llama(inputs_embeds=rows[None]).logits[0, -1].argmax())
        named.append(token)
        rows = torch.cat([rows, llama.model.embed_tokens(torch.tensor([token]))])
    return named


def actions_of(tokens: list[int], told: dict) -> np.ndarray:
    """Return the action that tokens name: bins, their middles, limits; the gripper as it is."""
    edges = np.linspace(-1, 1, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    bins = np.clip(VOCABULARY - UNUSED - np.array(tokens) - 1, 0, 254)
    values = middles[bins]
    low, high = np.array(told['q01']), np.array(told['q99'])
    return np.where(told['mask'], 0.5 * (values + 1) * (high - low) + low, values)


def test_an_action_is_the_greedy_answer_of_the_language_model(folder, llama, image):
    policy = Policy.from_pretrained(folder, **BASE)
    chunk = policy.act(image, TASK)
    expected = actions_of(
        greedy(llama, folder, visual_tokens(folder, image)), statistics(3)['action']
    )
    assert chunk.names == ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'gripper')
    assert chunk.control_mode == ControlMode.EE_DELTA
    assert chunk.dt == pytest.approx(0.2)
    assert chunk.actions.shape == (1, ACTIONS + 1)
    np.testing.assert_allclose(chunk.actions, robot_rows(expected[None], 'opening'), atol=1e-6)


def named_tokens(policy, image) -> list[int]:
    policy.act(image, TASK)
    return policy.actor.generator._said


@pytest.mark.parametrize('method', ['autoregressive', 'jacobi', 'speculative'])
def test_exact_decodings_name_the_same_tokens(folder, llama, image, method):
    tokens = {'head': 'tokens', 'tokens_tokenizer': 'bins', 'architecture': 'single'}
    policy = Policy.from_pretrained(folder, **BASE, **tokens, decoding_method=method)
    expected = greedy(llama, folder, visual_tokens(folder, image))
    assert named_tokens(policy, image) == expected
    other = image[::-1].copy()
    assert named_tokens(policy, other) == greedy(llama, folder, visual_tokens(folder, other))


def test_the_profile_of_the_system_changes_nothing(folder, image, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    under = policy_given(f'openvla={folder}', 'metaworld')
    expected = Policy.from_pretrained(folder, **BASE).act(image, TASK).actions
    found = Policy.from_pretrained(under, **BASE).act(image, TASK).actions
    np.testing.assert_array_equal(found, expected)


def test_a_draft_of_the_action_before_saves_passes_in_a_still_scene(folder, image):
    tokens = {'head': 'tokens', 'tokens_tokenizer': 'bins', 'architecture': 'single'}
    policy = Policy.from_pretrained(folder, **BASE, **tokens, decoding_method='speculative')
    first = policy.act(image, TASK, stamp=0.0)
    again = policy.act(image, TASK, stamp=0.2)
    assert again.steps == 1 < first.steps
    assert np.array_equal(first.actions, again.actions)


def test_a_decoding_cut_off_says_that_it_is_not_settled(folder, image):
    tokens = {'head': 'tokens', 'tokens_tokenizer': 'bins', 'architecture': 'single'}
    cut = {'decoding_method': 'consistency', 'decoding_max_steps': 1}
    chunk = Policy.from_pretrained(folder, **BASE, **tokens, **cut).act(image, TASK)
    assert 'not settled after 1 passes' in chunk.note


def test_tokens_that_are_no_bins_are_noted(folder, image):
    policy = Policy.from_pretrained(folder, **BASE)
    assert policy.act(image, TASK).note == ''
    policy.actor.generator.lm_head.weight[FIRST_BIN:] = 0
    assert f'{ACTIONS} of {ACTIONS} tokens name no bin' in policy.act(image, TASK, stamp=1e9).note


def reference_rows(llama, rows: torch.Tensor) -> torch.Tensor:
    """Return the last hidden states [N, D] of rows that all see each other, written out."""
    heads, eps = TEXT['num_attention_heads'], llama.config.rms_norm_eps
    size, count = HIDDEN // heads, len(rows)
    rate = 1 / 10000 ** (torch.arange(0, size, 2) / size)
    angle = torch.outer(torch.arange(count).float(), rate).repeat(1, 2)

    def norm(x, weight):
        return weight * x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()

    def turned(x):
        half = torch.cat([-x[..., size // 2 :], x[..., : size // 2]], -1)
        return x * angle.cos() + half * angle.sin()

    for layer in llama.model.layers:
        x = norm(rows, layer.input_layernorm.weight)
        attention = layer.self_attn
        q, k, v = (
            (x @ part.weight.T).view(count, heads, size).transpose(0, 1)
            for part in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        seen = (turned(q) @ turned(k).transpose(1, 2) / size**0.5).softmax(-1) @ v
        rows = rows + seen.transpose(0, 1).flatten(1) @ attention.o_proj.weight.T
        x, mlp = norm(rows, layer.post_attention_layernorm.weight), layer.mlp
        gate = x @ mlp.gate_proj.weight.T
        rows = rows + (gate * gate.sigmoid() * (x @ mlp.up_proj.weight.T)) @ mlp.down_proj.weight.T
    return norm(rows, llama.model.norm.weight)


def reference_head(slots: torch.Tensor) -> torch.Tensor:
    """Return the chunk [H, A] of hidden states [H x A, D], by the head of OFT written out."""
    w = {k.removeprefix('module.model.'): v for k, v in oft_parts()['action_head'].items()}

    def linear(x, name):
        return x @ w[f'{name}.weight'].T + w[f'{name}.bias']

    def norm(x, name):
        return layer_norm(x, x.shape[-1:], w[f'{name}.weight'], w[f'{name}.bias'])

    x = relu(linear(norm(slots.reshape(CHUNK, -1), 'layer_norm1'), 'fc1'))
    for block in range(2):
        name = f'mlp_resnet_blocks.{block}.ffn'
        x = x + relu(linear(norm(x, f'{name}.0'), f'{name}.1'))
    return linear(norm(x, 'layer_norm2'), 'fc2')


def oft_rows(llama, folder, visual: torch.Tensor, state: np.ndarray | None) -> torch.Tensor:
    """Return the hidden states [H x A, D] that OFT reads its chunk from."""
    proprio = []
    if state is not None:
        told = statistics(5)['proprio']
        low, high = np.array(told['q01']), np.array(told['q99'])
        scaled = np.clip(2 * (state - low) / (high - low + 1e-8) - 1, -1, 1)
        w = {k.removeprefix('module.'): v for k, v in oft_parts()['proprio_projector'].items()}
        made = gelu(torch.tensor(scaled).float() @ w['fc1.weight'].T + w['fc1.bias'])
        proprio = [(made @ w['fc2.weight'].T + w['fc2.bias'])[None]]
    words = llama.model.embed_tokens(torch.tensor(word_ids(folder, TASK)))
    end = llama.model.embed_tokens(torch.tensor([2]))
    empty = torch.zeros(CHUNK * ACTIONS, HIDDEN)
    hidden = reference_rows(llama, torch.cat([words[:1], visual, *proprio, words[1:], empty, end]))
    begin = 1 + len(visual) + len(proprio) + len(words) - 2
    return hidden[begin : begin + CHUNK * ACTIONS]


def test_a_chunk_of_oft_is_one_pass_in_which_all_see_all(oft, llama, image, state):
    policy = Policy.from_pretrained(oft, **OFT)
    chunk = policy.act(image, TASK, state=state)
    slots = oft_rows(llama, oft, visual_tokens(oft, image), state)
    assert np.abs(policy._plan.latents - slots.numpy()).max() < 2e-5
    normalised = reference_head(slots).numpy()
    told = statistics(5)['action']
    low, high = np.array(told['q01']), np.array(told['q99'])
    expected = np.where(told['mask'], 0.5 * (normalised + 1) * (high - low) + low, normalised)
    assert chunk.actions.shape == (CHUNK, ACTIONS + 1)
    assert np.abs(chunk.actions - robot_rows(expected, 'opening')).max() < 2e-5


def test_a_second_camera_follows_the_first(oft, llama, image, state):
    wrist = image[:, ::-1].copy()
    policy = Policy.from_pretrained(oft, **OFT, cameras=('image', 'wrist'))
    policy.act({'wrist': wrist, 'image': image}, TASK, state=state)
    slots = oft_rows(llama, oft, visual_tokens(oft, image, wrist), state)
    assert np.abs(policy._plan.latents - slots.numpy()).max() < 2e-5


def test_slots_without_a_head_name_their_tokens_in_one_pass(folder, llama, image):
    policy = Policy.from_pretrained(folder, **BASE, openvla_chunk=CHUNK)
    chunk = policy.act(image, TASK)
    slots = oft_rows(llama, folder, visual_tokens(folder, image), None)
    tokens = llama.lm_head(slots).argmax(-1).tolist()
    assert policy.actor.generator._said == tokens
    assert chunk.steps == 1
    assert chunk.actions.shape == (CHUNK, ACTIONS + 1)


def test_the_state_of_now_is_read(oft, image, state):
    policy = Policy.from_pretrained(oft, **OFT)
    first = policy.act(image, TASK, state=state, stamp=0.0)
    second = policy.act(image, TASK, state=-state, stamp=0.1)
    assert not np.allclose(first.actions, second.actions)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'unnorm_key': ''}, 'bridge_orig, fractal20220817_data'),
        ({'joints_rate': 0.0}, 'joints.rate is 0'),
        ({'openvla_gripper': 'unknown'}, 'openvla.gripper'),
        ({'architecture': 'dual'}, 'architecture is dual'),
        ({'head': 'flow', 'architecture': 'single'}, 'head is flow'),
        ({'resampling_method': 'univla'}, 'resampling.method'),
        ({'ecot_method': 'text'}, 'ecot.method is text; expected none'),
    ],
)
def test_what_nobody_said_or_no_openvla_has_is_refused(folder, changes, message):
    with pytest.raises(InvalidSettingError, match=message):
        Policy.from_pretrained(folder, **BASE | changes)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'openvla_chunk': 0}, 'openvla.chunk is 0'),
        ({'joints_state_names': ()}, 'joints.state_names'),
        ({'head': 'tokens', 'architecture': 'single', 'tokens_tokenizer': 'bins'}, 'head is'),
        ({'cache_method': 'skip'}, 'cache.method is skip'),
    ],
)
def test_what_nobody_said_of_an_oft_is_refused(oft, changes, message):
    with pytest.raises(InvalidSettingError, match=message):
        Policy.from_pretrained(oft, **OFT | changes)


def test_parallel_decoding_needs_slots(folder, image):
    tokens = {'head': 'tokens', 'tokens_tokenizer': 'bins', 'architecture': 'single'}
    policy = Policy.from_pretrained(folder, **BASE, **tokens)
    with pytest.raises(InvalidRecordError, match='parallel'):
        policy.act(image, TASK)


@pytest.mark.parametrize(
    ('gripper', 'efforts'),
    [('opening', (1.0, -1.0)), ('closing', (-1.0, 1.0)), ('effort', (0.0, 1.0))],
)
def test_the_gripper_becomes_an_effort_as_it_was_told(gripper, efforts):
    from efficient_vla.end_effector import COLUMNS, with_effort

    rows = np.zeros((2, 7), np.float32)
    rows[1, 6] = 1.0
    assert with_effort(rows, COLUMNS, gripper)[:, 6].tolist() == list(efforts)
    assert rows[:, 6].tolist() == [0.0, 1.0]
    rows[0, 6] = 35.0
    with pytest.raises(RefusedChunkError, match='gives 35 for the gripper'):
        with_effort(rows, COLUMNS, gripper)
