# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Techniques on prefix policies: nothing saved changes nothing, and what is saved is said."""

import numpy as np
import pytest
import torch
from lerobot_folders import FIXTURES
from prefix_policies import TASK, loaded, moved, seen

from efficient_vla.attention import KeyValues
from efficient_vla.lerobot.techniques import techniques
from efficient_vla.policy_folders import folder_facts
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import Execution, HeadHelp, InvalidRecordError

SELECTORS = sorted(set(METHODS) - {'fastdrivevla'})
ACTIONS = {'atol': 2e-3}
"""Degrees; the rounding of a normalised chunk."""


def acted(policy, name, stamp=0.0, images=None, state=None):
    own, at = seen(name)
    at = at if state is None else state
    return policy.act(images or own, TASK, state=at, stamp=stamp)


def selecting(name, method, **settings):
    signals = 'signals' in METHODS[method].needs
    return loaded(name, pruning_method=method, signals=signals, **settings)


@pytest.mark.parametrize('name', ['smolvla', 'smolvla_switches', 'pi0', 'pi05'])
@pytest.mark.parametrize('method', SELECTORS)
def test_a_selector_that_may_keep_all_changes_nothing(name, method):
    policy = selecting(name, method, pruning_keep=0.99, pruning_min_tokens=8)
    np.testing.assert_allclose(
        acted(policy, name).actions, acted(loaded(name), name).actions, **ACTIONS
    )


@pytest.mark.parametrize('name', ['smolvla', 'smolvla_switches', 'pi0'])
@pytest.mark.parametrize('method', SELECTORS)
def test_a_selector_drops_visual_tokens_and_no_other_row(name, method):
    policy = selecting(name, method, pruning_keep=0.5, pruning_min_tokens=2)
    # Selectors that look at motion or at earlier frames have seen some by the third.
    state = seen(name)[1]
    for step in range(3):
        drifted = state + np.float32(4.0 * step)
        chunk = acted(policy, name, 0.1 * step, state=drifted)
    plan = policy._plan
    lengths = [keys.shape[2] for keys in plan.cache.keys]
    dense = loaded(name)
    acted(dense, name)
    whole = dense._plan.cache.keys[0].shape[2]
    first = min(METHODS[method].layer, len(lengths) - 1)
    assert lengths[:first] == [whole] * first
    if len(plan.kept) < 8:
        assert lengths[-1] == whole - 8 + len(plan.kept)
    assert len(plan.kept) <= 4 or method in ('sp_vla', 'adp', 'lightvla', 'specprune')
    assert plan.cache.length == whole
    assert np.isfinite(chunk.actions).all()


@pytest.mark.parametrize('name', ['smolvla', 'pi0', 'pi05'])
def test_identity_a_prefix_of_all_layers_is_dense(name):
    policy = loaded(name, depth_method='truncate')
    np.testing.assert_allclose(
        acted(policy, name).actions, acted(loaded(name), name).actions, **ACTIONS
    )


@pytest.mark.parametrize('name', ['smolvla', 'pi0', 'pi05'])
def test_the_expert_attends_to_layers_that_are_left_out_too(name):
    policy, dense = loaded(name, depth_method='truncate', depth_layers=1), loaded(name)
    found = acted(policy, name).actions
    assert len(policy._plan.cache.keys) == len(dense.reasoner.trunk.parts.layers)
    assert policy.reasoner.parameters_mb < dense.reasoner.parameters_mb
    assert np.abs(found - acted(dense, name).actions).max() > 1e-3


def test_dropped_tokens_are_as_if_nobody_saw_them():
    name = 'smolvla'
    policy = loaded(
        name, pruning_method='uniform', pruning_keep=0.5, pruning_min_tokens=2, pruning_layer=0
    )
    acted(policy, name)
    plan, prefix = policy._plan, policy.reasoner.trunk
    tokens, batch = policy._tokens, policy.reasoner._batch
    words = batch['observation.language.tokens'][batch['observation.language.attention_mask']]
    features = torch.from_numpy(tokens.features)
    sequence = prefix.sequence(features, tokens.camera, words, plan.cache.state)
    gone = np.setdiff1d(tokens.position, plan.kept)
    sequence.mask[..., torch.from_numpy(gone).long()] = False
    for row in gone:
        sequence.mask[..., row, row] = True
    slots = [KeyValues(sequence.embeddings.shape[1]) for _ in prefix.parts.layers]
    with torch.inference_mode():
        runner.run(prefix.parts, sequence, reuse=runner.Reuse(slots))
    stay = np.setdiff1d(np.arange(sequence.embeddings.shape[1]), gone)
    for found, expected in zip(plan.cache.keys, slots, strict=True):
        assert torch.allclose(found, expected.keys[:, :, stay], atol=1e-5)


@pytest.mark.parametrize('name', ['smolvla', 'smolvla_switches', 'pi0', 'pi05'])
@pytest.mark.parametrize('adaptive', [False, True])
def test_reused_keys_of_an_unchanged_frame_give_the_same_chunk(name, adaptive):
    settings = {'reuse_method': 'vla_cache', 'reuse_task_share': 0.0, 'reuse_adaptive': adaptive}
    policy, dense = loaded(name, **settings), loaded(name)
    chunks = [[acted(p, name, stamp).actions for stamp in (0.0, 0.1)] for p in (policy, dense)]
    assert len(policy._plan.reused) > 0
    np.testing.assert_allclose(chunks[0], chunks[1], **ACTIONS)


def test_reused_keys_of_a_changed_frame_are_old_and_leave_earlier_plans_alone():
    name = 'smolvla'
    policy = loaded(
        name,
        reuse_method='vla_cache',
        reuse_task_share=0.0,
        reuse_adaptive=False,
        reuse_threshold=2.0,
    )
    images, dense = seen(name)[0], loaded(name)
    acted(policy, name, 0.0)
    before = policy._plan.cache
    kept = [part.clone() for part in (*before.keys, *before.values)]
    found = acted(policy, name, 0.1, moved(images)).actions
    acted(dense, name, 0.0)
    assert np.abs(found - acted(dense, name, 0.1, moved(images)).actions).max() > 1e-2
    assert len(policy._plan.reused) == 8
    assert all(map(torch.equal, kept, (*before.keys, *before.values)))
    np.testing.assert_allclose(policy._plan.reused_age, 0.1, atol=1e-5)


@pytest.mark.parametrize('name', ['smolvla', 'pi0'])
def test_patches_that_did_not_change_are_not_computed(name):
    policy, dense = loaded(name, cache_method='patch', cache_max_changed=1.0), loaded(name)
    images = seen(name)[0]
    for made in (policy, dense):
        acted(made, name, 0.0)
    same = [acted(made, name, 0.1).actions for made in (policy, dense)]
    np.testing.assert_allclose(same[0], same[1], **ACTIONS)
    assert policy.perception.last.computed < policy.perception.last.patches
    changed = [acted(made, name, 0.2, moved(images)).actions for made in (policy, dense)]
    assert np.abs(changed[0] - same[0]).max() > 0.05
    assert np.isfinite(changed[0]).all()


@pytest.mark.parametrize('name', ['smolvla', 'pi05'])
@pytest.mark.parametrize('stage', ['perception', 'reasoner', 'actor'])
@pytest.mark.parametrize('mode', ['bf16', 'int8_dynamic', 'int4_weight'])
def test_other_number_formats_are_smaller_and_near(name, stage, mode):
    policy, dense = loaded(name, **{f'{stage}_quantization_mode': mode}), loaded(name)
    sizes = [getattr(made, stage).parameters_mb for made in (policy, dense)]
    # Half of the tiny tower is convolution, positions and what leads out of it.
    assert sizes[0] < (0.9 if stage == 'perception' else 0.7) * sizes[1]
    space, state = dense.actor.space, seen(name)[1]
    scale = np.abs(space.actions(np.ones((1, 6), np.float32), state)).max()
    difference = np.abs(acted(policy, name).actions - acted(dense, name).actions).max()
    assert 1e-4 < difference < 0.5 * scale


@pytest.mark.parametrize('name', ['smolvla', 'pi0', 'pi05'])
def test_steps_from_noise_are_a_parameter(name):
    plain = acted(loaded(name), name)
    ten = acted(loaded(name, flow_steps=10), name)
    two = acted(loaded(name, flow_steps=2), name)
    cached = acted(loaded(name, flow_cache_every=2), name)
    probed = acted(loaded(name, flow_adaptive=True, flow_shortcut=False), name)
    assert [c.steps for c in (plain, ten, two, cached)] == [10, 10, 2, 5]
    assert 2 <= probed.steps <= 11
    np.testing.assert_array_equal(plain.actions, ten.actions)
    for other in (two, cached):
        assert np.abs(other.actions - plain.actions).max() > 1e-3


@pytest.mark.parametrize('name', ['smolvla', 'pi0', 'pi05'])
def test_a_chunk_is_drawn_to_the_one_before(name):
    free, drawn = loaded(name), loaded(name)
    first = acted(drawn, name, 0.0).actions
    acted(free, name, 0.0)
    drawn.actor.note_execution(Execution(0.0, 0.0, 0.0, 1.0, 3.0, 'rtc', HeadHelp.INPAINT))
    found, other = (acted(policy, name, 0.1).actions for policy in (drawn, free))
    # One row has passed, and three of the others are certain to be executed.
    assert np.abs(found[:3] - first[1:4]).mean() < 0.5 * np.abs(other[:3] - first[1:4]).mean()


def test_what_training_would_have_had_to_teach_is_refused():
    policy = loaded('smolvla')
    with pytest.raises(InvalidSettingError, match='was not trained for it'):
        policy.actor.note_execution(
            Execution(0.0, 0.0, 0.0, 1.0, 3.0, 'rtc_trained', HeadHelp.PREFIX)
        )


REFUSALS = {
    'reasoner.schedule.method': {'schedule_method': 'steady'},
    'reasoner.resampling.method': {'resampling_method': 'perceiver'},
    'reasoner.ecot.method': {'ecot_method': 'text'},
    'reasoner.width.method': {'width_method': 'structured'},
    'perception.cache.method=skip': {'cache_method': 'skip'},
    'actor.architecture': {'architecture': 'dual'},
}
USES = {
    'perception.cache.method': {'cache_method': 'patch'},
    'perception.quantization.mode': {'perception_quantization_mode': 'bf16'},
    'reasoner.depth.method': {'depth_method': 'truncate', 'depth_layers': 1},
    'reasoner.pruning.method': {'pruning_method': 'fastv'},
    'reasoner.reuse.method': {'reuse_method': 'vla_cache'},
    'reasoner.schedule.method': {'schedule_method': 'steady'},
    'reasoner.quantization.mode': {'quantization_mode': 'int8_weight'},
    'actor.quantization.mode': {'actor_quantization_mode': 'int8_dynamic'},
    'actor.flow.steps': {'flow_steps': 1},
    'actor.flow.adaptive': {'flow_adaptive': True, 'flow_shortcut': False},
    'actor.flow.cache_every': {'flow_cache_every': 3},
    'actor.guidance.steps': {'guidance_steps': 3},
    'actor.architecture': {'architecture': 'dual'},
}


@pytest.mark.parametrize('name', ['smolvla', 'pi0', 'pi05'])
def test_facts_name_the_techniques_that_work_and_those_that_do_not(name):
    facts = folder_facts(FIXTURES / name)
    assert (facts.techniques, facts.refused) == techniques(name == 'pi05')
    assert facts.architecture == loaded(name).actor.architecture
    for parameter in facts.techniques:
        assert np.isfinite(acted(loaded(name, **USES[parameter]), name).actions).all()
    for parameter in facts.refused:
        with pytest.raises((InvalidSettingError, InvalidRecordError)):
            loaded(name, **REFUSALS[parameter])


@pytest.mark.parametrize('settings', [{'pruning_method': 'fastdrivevla'}, {'head': 'regression'}])
def test_what_needs_a_trained_module_is_refused_by_name(settings):
    with pytest.raises(
        (InvalidSettingError, InvalidRecordError), match=next(iter(settings.values()))
    ):
        loaded('smolvla', **settings)


def test_a_drop_in_the_last_layer_by_its_queries_is_refused():
    with pytest.raises(InvalidRecordError, match='keys and values alone'):
        loaded('smolvla', pruning_method='adp', pruning_layer=3)
