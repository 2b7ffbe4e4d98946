# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy of each kind of trunk plans as it was trained to, and refuses what it cannot do."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_policy import CARD
from torch.nn import functional
from transformers import AutoModel

from efficient_vla import checkpoint
from efficient_vla.bringup.inspection import facts_at, inspection
from efficient_vla.errors import CheckpointError
from efficient_vla.policy import Policy
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.state_space import scan
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.settings import InvalidSettingError
from efficient_vla.training.files import write_policy
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.model import EvlaNano, nano_config
from efficient_vla.training.train import train_tokenizer
from efficient_vla.training.trunks import TRUNKS
from efficient_vla.types import Frame, InvalidRecordError

SENTENCES = ['press the button', 'open']
SIDE = CARD.image_size
IMAGE = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
FRAME = Frame({CARD.cameras[0]: IMAGE}, np.array([0.0, 0.6, 0.2, 1.0], np.float32), 0.0)


def model_of(trunk):
    torch.manual_seed(0)
    config = nano_config(300, 64, 2, SIDE, trunk)
    return config, EvlaNano(CARD, config).eval().requires_grad_(False)


@pytest.fixture(scope='module', params=TRUNKS)
def made(request, tmp_path_factory):
    """Return a folder with random weights, and the model that was written there."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    config, model = model_of(request.param)
    tokenizer = train_tokenizer(SENTENCES * 3, 300)
    write_policy(folder, CARD, config, dict(model.deployed()), tokenizer)
    return folder, model


def test_a_stage_plans_as_the_model_was_trained(made):
    folder, model = made
    policy = Policy.from_pretrained(folder, architecture='single')
    plan = policy.reasoner.plan(policy.perception.encode(FRAME), SENTENCES[0])
    inputs = Frozen(folder, torch.device('cpu'), 'fp32')
    pixels = inputs.pixels(torch.from_numpy(IMAGE)[None], jitter=False)
    trained = model.plan(pixels, *inputs.text(SENTENCES[:1]))
    assert trained.std() > 0.01
    np.testing.assert_allclose(plan.latents, trained[0], atol=1e-4)
    assert policy.act(FRAME, SENTENCES[0]).actions.shape == (CARD.horizon, 4)


def test_padding_does_not_reach_the_plan(made):
    _, model = made
    pixels = torch.randn(2, 3, SIDE, SIDE)
    text, mask = torch.arange(20, 34).view(2, 7), torch.ones(2, 7, dtype=torch.bool)
    mask[1, 3:] = False
    kept = torch.arange(0, CARD.tokens_per_camera, 2)
    both = model.plan(pixels, text, mask, kept)
    alone = model.plan(pixels[1:], text[1:, :3], mask[1:, :3], kept)
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-4)
    assert (model.plan(pixels[1:], text[1:], mask[:1], kept) - alone).abs().max() > 1e-3


def test_words_and_places_of_the_image_reach_the_plan(made):
    _, model = made
    pixels = torch.randn(1, 3, SIDE, SIDE)
    text, mask = torch.arange(20, 24)[None], torch.ones(1, 4, dtype=torch.bool)
    plan = model.plan(pixels, text, mask)
    turned = model.plan(pixels.flip(2), text, mask)
    other = model.plan(pixels, text + 9, mask)
    for another in (turned, other):
        assert (another - plan).abs().max() > 1e-3


def test_qwen_positions_have_rows_and_columns():
    _, model = model_of('qwen2_5_vl')
    text = torch.zeros(1, 1, dtype=torch.long)
    seen = []
    model.trunk.forward = lambda *given: seen.append(given) or (given[0], None)
    model.plan(torch.zeros(1, 3, SIDE, SIDE), text, text == 0, torch.tensor([1, 14]))
    side = round(CARD.tokens_per_camera**0.5)
    time, row, column = seen[0][1][:, 0].tolist()
    assert (time, row, column) == ([0, 0], [0, 14 // side], [1, 14 % side])


def test_the_scan_is_the_recurrence():
    spans, inputs, rates = torch.rand(2, 5, 3), torch.randn(2, 5, 3), -torch.rand(3, 4)
    writes, reads = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    state = torch.zeros(2, 3, 4)
    for place, read in enumerate(scan(spans, rates, inputs, writes, reads).unbind(1)):
        for channel in range(3):
            kept = torch.exp(spans[:, place, channel, None] * rates[channel])
            new = inputs[:, place, channel, None] * writes[:, place]
            state[:, channel] = kept * state[:, channel] + new
            expected = (state[:, channel] * reads[:, place]).sum(-1)
            torch.testing.assert_close(read[:, channel], expected)


def test_an_encoder_reads_a_prefix_as_its_stock_forward_does():
    torch.manual_seed(0)
    model = AutoModel.from_config(nano_config(300, 64, 2, trunk='bart').text_config).eval()
    trunk = Trunk(model.encoder, 1).requires_grad_(False)
    visual, text = torch.randn(1, 5, 64), torch.arange(20, 24)[None]
    sequence = trunk.sequence(visual, torch.arange(5)[None], text, text > 0, 5)
    ours = runner.run(trunk.parts, sequence).hidden[:, :9]
    embedded = torch.cat([visual, model.encoder.embed_tokens(text)], 1)
    stock = model.encoder(inputs_embeds=embedded).last_hidden_state
    torch.testing.assert_close(ours, stock, atol=1e-5, rtol=1e-4)


def test_an_encoder_keeps_the_positions_of_what_stays():
    _, model = model_of('bart')
    parts = model.trunk.parts
    embeddings, places = torch.randn(1, 2, 64), torch.tensor([[0, 7]])
    table = parts.model.embed_positions.weight[places + 2]
    norm = parts.model.layernorm_embedding
    expected = functional.layer_norm(embeddings + table, (64,), norm.weight, norm.bias, norm.eps)
    torch.testing.assert_close(parts.enter(embeddings, places), expected)
    with pytest.raises(InvalidRecordError, match='position 512; expected less than 512'):
        parts.enter(embeddings, torch.tensor([[0, 512]]))


REFUSED = {
    'mamba': {
        'fastv': 'attention, which a mamba decoder',
        'vla_cache': 'keys and values, which a mamba decoder',
        'structured': 'decoder of type mamba',
        'openvino': 'mamba decoder are not parted',
    },
    'gpt_neox': {
        'structured': 'decoder of type gpt_neox',
        'openvino': 'gpt_neox decoder are not parted',
    },
    'bart': {
        'structured': 'decoder of type bart',
        'openvino': 'bart decoder are not parted',
    },
}
NAMED = {
    'fastv': {'pruning_method': 'fastv', 'pruning_layer': 1},
    'vla_cache': {'reuse_method': 'vla_cache'},
    'structured': {'width_method': 'structured'},
    'openvino': {'reasoner_engine': 'openvino'},
}
WORKS = {
    'uniform': {'pruning_method': 'uniform'},
    'truncate': {'depth_method': 'truncate', 'depth_share': 0.5},
    'int8_weight': {'quantization_mode': 'int8_weight'},
}


def test_a_trunk_refuses_by_name_what_it_cannot_do(made):
    folder, _ = made
    for name, why in REFUSED.get(folder.name[:-1], {}).items():
        with pytest.raises((InvalidRecordError, InvalidSettingError), match=why):
            Policy.from_pretrained(folder, architecture='single', **NAMED[name])


@pytest.mark.parametrize('name', [*WORKS, 'fastv', 'vla_cache'])
def test_what_is_not_refused_plans(made, name):
    folder, _ = made
    if name in REFUSED.get(folder.name[:-1], {}):
        pytest.skip('refused')
    policy = Policy.from_pretrained(folder, architecture='single', **(WORKS | NAMED)[name])
    for moment in range(3):
        chunk = policy.act(dataclasses.replace(FRAME, stamp=float(moment)), SENTENCES[0])
        assert np.isfinite(chunk.actions).all()


def test_inspect_says_what_the_trunk_cannot_do(made):
    folder, _ = made
    found = inspection(folder, facts_at(folder), None)
    unable = {name: why for name, why in found['refused'].items() if 'decoder has no' in why}
    width, reuse = 'reasoner.width.method', 'reasoner.reuse.method'
    assert ('reasoner.engine' in unable) == ('openvino' in REFUSED.get(folder.name[:-1], {}))
    assert ('reasoner.engine' in found['techniques']) == ('reasoner.engine' not in unable)
    assert (width in unable) == ('structured' in REFUSED.get(folder.name[:-1], {}))
    assert (reuse in unable) == (folder.name == 'mamba0')
    assert ('reasoner.pruning.method=fastv' in unable) == (folder.name == 'mamba0')
    assert not unable.keys() & {*found['techniques']}
    assert {width, reuse} <= unable.keys() | {*found['techniques']}


def test_a_layer_that_misses_is_said(tmp_path):
    config, model = model_of('bart')
    tensors = {n: t for n, t in model.deployed() if '.layers.1.' not in n}
    write_policy(tmp_path, CARD, config, tensors, train_tokenizer(SENTENCES, 300))
    with pytest.raises(CheckpointError, match=r'Missing key.*text_model\.encoder\.layers\.1'):
        checkpoint.load_trunk(tmp_path)
