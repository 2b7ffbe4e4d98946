# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages whose layers an engine executes: the same actions, also where rows are dropped or kept."""

import shutil
from functools import partial

import numpy as np
import pytest
import torch
from engine_names import EXPORTERS
from lerobot_folders import FIXTURES
from prefix_policies import CAMERAS, ROBOT, TASK, seen
from vision_towers import FAMILIES, tower

from efficient_vla import checkpoint
from efficient_vla.engines import compile as compiling, openvino
from efficient_vla.policy import Policy
from efficient_vla.reasoning import fused
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import weights_mb
from efficient_vla.training.files import write_addon
from efficient_vla.training.measuring import ranges

CLOSE = {'atol': 2e-3}
"""Degrees; the rounding of a normalised chunk."""
STAGES = ('perception', 'reasoner', 'actor')
PATCHES = {'cache_method': 'patch', 'cache_max_changed': 1.0}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def fixture(tmp_path):
    """Return a function that copies a fixture, beside which exports may be kept."""

    def copied(name):
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(FIXTURES / name, folder)
        return folder

    return copied


def acted(folder, name, engine, frames=3, **settings):
    """Return chunks of frames in which a corner of the image changes."""
    own = {'cameras': CAMERAS.get(name, ()), **ROBOT}
    policy = Policy.from_pretrained(folder, engine=engine, **own, **settings)
    return acted_by(policy, name, frames), policy


def acted_by(policy, name, frames):
    """Return what a policy makes of them."""
    images, state = seen(name)
    made = []
    for step in range(frames):
        changed = {camera: image.copy() for camera, image in images.items()}
        for image in changed.values():
            image[: 8 * step, : 8 * step] = 40 * step
        made.append(policy.act(changed, TASK, state=state, stamp=0.1 * step))
    return np.stack([chunk.actions for chunk in made])


HALF = {'pruning_keep': 0.5, 'pruning_min_tokens': 4}
SETTINGS = {
    'dense': {},
    'dropped before the first layer': {'pruning_method': 'uniform', **HALF},
    'dropped after a layer': {'pruning_method': 'fastv', **HALF},
    'dropped by projections': {'pruning_method': 'adp', **HALF},
    'reused': {'reuse_method': 'vla_cache', 'reuse_task_share': 0.0, **PATCHES},
    'step features': {'flow_cache_every': 2},
}


@pytest.mark.parametrize('engine', EXPORTERS)
@pytest.mark.parametrize('case', SETTINGS)
def test_an_engine_gives_the_chunks_of_torch(fixture, case, engine):
    folder = fixture('smolvla')
    found, policy = acted(folder, 'smolvla', engine, **SETTINGS[case])
    expected, _ = acted(folder, 'smolvla', 'torch', **SETTINGS[case])
    np.testing.assert_allclose(found, expected, **CLOSE)
    assert policy.actor.engine.error < 1e-4
    assert len(policy.plan.kept) == (4 if 'dropped' in case else 8)
    looking = 'layer' in case and 'before' not in case, 'projections' in case, 'reused' in case
    assert (policy.reasoner.trunk.parts.whole is None) == any(looking)


@pytest.mark.parametrize('engine', EXPORTERS)
@pytest.mark.parametrize('pruned', [{}, SETTINGS['dropped before the first layer']], ids=str)
def test_one_graph_renews_the_state_of_a_prefix_as_torch_does(fixture, pruned, engine):
    caches = []
    for one in ('torch', engine):
        _, policy = acted(fixture('smolvla'), 'smolvla', one, 1, **pruned)
        cache = policy.plan.cache
        caches.append(cache.renewed(cache.state + 1))
        assert not torch.allclose(caches[-1].keys[-1], cache.keys[-1], atol=1e-3)
    for part in ('keys', 'values'):
        for one, other in zip(*(getattr(cache, part) for cache in caches), strict=True):
            assert torch.allclose(one, other, atol=1e-4)


MODES = ('int8', 'int8_dynamic', 'int8_weight', 'int4_weight')


@pytest.mark.parametrize('case', [{}, PATCHES], ids=['whole', 'cut'])
@pytest.mark.parametrize('mode', MODES)
def test_integers_stay_near_torch_in_float32(fixture, mode, case):
    folder = fixture('smolvla')
    expected, dense = acted(folder, 'smolvla', 'torch', **case)
    if mode == 'int8':
        shape, found = ranges(dense, lambda: acted_by(dense, 'smolvla', 3))
        write_addon(folder, 'int8', shape, found, checkpoint.sha256(folder))
    modes = {f'{stage}_quantization_mode': mode for stage in STAGES}
    found, small = acted(folder, 'smolvla', 'openvino', **case, **modes)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 1e-5 < error < (0.3 if mode == 'int4_weight' else 0.1)
    for stage in STAGES:
        report = getattr(small, stage).engine
        assert report.format.startswith(mode)
        assert 1e-4 < report.error < 0.3, stage


@pytest.mark.parametrize('engine', EXPORTERS)
@pytest.mark.parametrize('every', [1, 2])
def test_an_expert_with_a_row_of_the_state_and_one_whose_norms_know_the_time(
    fixture, every, engine
):
    for name in ('pi0', 'pi05'):
        found, policy = acted(fixture(name), name, engine, 1, flow_cache_every=every)
        expected, _ = acted(fixture(name), name, 'torch', 1, flow_cache_every=every)
        np.testing.assert_allclose(found, expected, **CLOSE)
        assert policy.actor.engine.graphs == 2


def test_projections_of_a_prefix_are_made_by_the_engine(fixture):
    _, policy = acted(fixture('smolvla'), 'smolvla', 'openvino', 1)
    expert = policy.actor.generator.expert
    assert policy.actor.engine.graphs == 3
    assert expert.crossing
    for cross in expert.crossing:
        assert cross.key.weight.is_meta
        assert cross.value.weight.is_meta


@pytest.mark.parametrize('case', ['dense', 'dropped after a layer', 'reused'])
def test_the_first_frames_find_all_compiled(fixture, case, monkeypatch):
    torch._dynamo.reset()
    taken, whole = [], torch.compile
    backend = partial(whole, backend=lambda graph, _: taken.append(graph) or graph)
    monkeypatch.setattr(torch, 'compile', backend)
    monkeypatch.setattr(compiling, 'check', lambda request: None)
    own = {'engine': 'compile', **ROBOT, **SETTINGS[case]}
    policy = Policy.from_pretrained(fixture('smolvla'), **own)
    before = len(taken)
    acted_by(policy, 'smolvla', 2)
    parts = policy.reasoner.trunk.parts
    if parts.whole is not None:
        with torch.inference_mode():
            for rows, seen_before in ((33, 0), (100, 0), (1, 50)):
                parts.whole(*rows_behind(parts, rows, seen_before))
    assert before
    assert [graph.code for graph in taken[before:]] == []


def rows_behind(parts, rows, seen_before):
    """Return what a graph of a prefix takes of rows that come behind others."""
    hidden = torch.randn(1, rows, parts.model.config.hidden_size)
    (turn,) = parts.rotary(hidden, torch.arange(seen_before, seen_before + rows)[None]).values()
    mask = torch.ones(1, 1, rows, seen_before + rows, dtype=torch.bool)
    before = [
        torch.randn(*none.shape[:2], seen_before, none.shape[3])
        for none in parts.nothing_before(hidden)
    ]
    return hidden, mask, *turn, *before


@torch.no_grad()
def test_identity_a_prefix_of_more_rows_than_a_block_is_what_its_layers_give(fixture, monkeypatch):
    _, policy = acted(fixture('smolvla'), 'smolvla', 'torch', 1)
    parts = policy.reasoner.trunk.parts
    whole, rows = parts.keeping_pass(), 11
    hidden = torch.randn(1, rows, parts.model.config.hidden_size)
    (turn,) = parts.rotary(hidden, torch.arange(rows)[None]).values()
    mask = torch.ones(1, 1, rows, rows, dtype=torch.bool).tril()
    given = hidden, mask, *turn, *parts.nothing_before(hidden)
    found = {}
    for block in (4, rows):
        monkeypatch.setattr(fused, 'BLOCK', block)
        found[block] = whole(*given)
    for one, other in zip(*found.values(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize('engine', EXPORTERS)
def test_weights_are_held_once(fixture, engine):
    _, dense = acted(fixture('smolvla'), 'smolvla', 'torch', 1)
    _, engined = acted(fixture('smolvla'), 'smolvla', engine, 1)
    for stage in STAGES:
        held, once = (getattr(policy, stage).parameters_mb for policy in (engined, dense))
        assert held < 1.35 * once, stage


def test_projections_that_are_one_product_are_excluded_together():
    parted = tower(next(iter(FAMILIES)))
    attention = parted.encoder.encoder.layers[0].self_attn
    with pytest.raises(InvalidSettingError, match='some of q_proj, k_proj and v_proj'):
        parted.join({attention.q_proj: None})


def test_projections_that_are_one_product_are_held_once():
    parted = tower(next(iter(FAMILIES)))
    before = weights_mb(parted)
    parted.join({})
    assert weights_mb(parted) == pytest.approx(before)


@pytest.mark.parametrize('family', FAMILIES)
@torch.no_grad()
def test_identity_layers_that_are_one_module_give_what_the_stock_ones_do(family):
    stock, parted = tower(family), tower(family)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert parted.join({}) is parted.partial
    assert torch.allclose(parted(pixels), stock(pixels), atol=1e-5)
    some = torch.tensor([3, 9, 40])
    for one in (stock, parted):
        memory = one.encode(pixels[0], slots=True, scores=True)
        one.update(memory, pixels[1], some)
        one.kept = memory
    assert torch.allclose(parted.kept.hidden, stock.kept.hidden, atol=1e-5)
    assert torch.allclose(parted.kept.attention, stock.kept.attention, atol=1e-5)


@pytest.mark.parametrize('engine', EXPORTERS)
def test_act_is_one_graph(fixture, engine):
    folder = fixture('act')
    raw = {'device': 'cpu', **{k: v for k, v in ROBOT.items() if k.startswith('joints')}}
    torch_actor, engined = (
        Policy.from_pretrained(folder, actor_engine=one, **raw).actor for one in ('torch', engine)
    )
    assert engined.engine.error < 1e-4
    assert engined.parameters_mb == pytest.approx(torch_actor.parameters_mb, rel=0.3)


def test_act_takes_bfloat16_from_an_engine_alone(fixture):
    raw = {'device': 'cpu', **{k: v for k, v in ROBOT.items() if k.startswith('joints')}}
    for settings in (
        {'actor_quantization_mode': 'bf16'},
        {'actor_quantization_mode': 'bf16', 'actor_engine': 'compile'},
        {'actor_quantization_mode': 'int8_weight', 'actor_engine': 'openvino'},
    ):
        with pytest.raises(InvalidSettingError, match=r'quantization.mode is \w+; expected none'):
            Policy.from_pretrained(fixture('act'), **settings, **raw)
    halved = {'actor_quantization_mode': 'bf16', 'actor_engine': 'openvino'}
    excluded = {'actor_quantization_exclude': ('self_attn',)}
    with pytest.raises(InvalidSettingError, match=r'exclude is self_attn with quantization\.mode'):
        Policy.from_pretrained(fixture('act'), **halved, **excluded, **raw)
    if not openvino.computes_in_bfloat16():
        pytest.skip('this processor does not compute in bfloat16')
    actor = Policy.from_pretrained(fixture('act'), **halved, **raw).actor
    assert actor.engine.format == 'bfloat16'
    assert 1e-5 < actor.engine.error < 0.05


def test_a_stage_that_no_engine_executes_says_so(fixture):
    raw = {'device': 'cpu', **{k: v for k, v in ROBOT.items() if k.startswith('joints')}}
    with pytest.raises(InvalidSettingError, match='engine of the perception is openvino'):
        Policy.from_pretrained(fixture('act'), perception_engine='openvino', **raw)
