# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The policy without ROS: neutral settings are the dense result, the others do what they say."""

import dataclasses

import numpy as np
import pytest
import torch

from efficient_vla.action.settings import ActorSettings
from efficient_vla.policy import Policy, architecture_of, default_policy
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import ControlMode, Frame, InvalidRecordError

SENTENCE = 'open the drawer'


def frame(stamp: float = 0.0, seed: int = 0) -> Frame:
    image = np.random.default_rng(seed).integers(0, 255, (160, 160, 3), np.uint8)
    return Frame({'corner2': image}, np.array([0.0, 0.6, 0.2, 1.0], np.float32), stamp)


def actions(folder, **keywords) -> np.ndarray:
    return Policy.from_pretrained(folder, **keywords).act(frame(), SENTENCE).actions


@pytest.mark.parametrize('architecture', ['dual', 'single'])
def test_a_chunk_has_the_shape_and_units_of_the_card(folder, architecture):
    policy = Policy.from_pretrained(folder, architecture=architecture)
    chunk = policy.act(frame(3.0), SENTENCE)
    assert chunk.actions.shape == (5, 4)
    assert chunk.control_mode is ControlMode.EE_DELTA
    assert chunk.stamp == chunk.plan_stamp == 3.0
    assert np.abs(chunk.actions[:, :3]).max() < 0.1


@pytest.mark.parametrize('architecture', ['dual', 'single'])
def test_identity_neutral_settings_are_dense(folder, architecture):
    dense = actions(folder, architecture=architecture)
    neutral = actions(
        folder,
        architecture=architecture,
        pruning_method='fastv',
        pruning_keep=1.0,
        cache_method='none',
        quantization_mode='none',
    )
    assert np.array_equal(dense, neutral)


def test_cameras_that_the_policy_does_not_see_or_has_to_see_are_refused(folder):
    for cameras in (('side',), ('corner2', 'side')):
        with pytest.raises(InvalidSettingError, match='expected corner2, all of which'):
            Policy.from_pretrained(folder, cameras=cameras)
    assert actions(folder, cameras=('corner2',)).tolist() == actions(folder).tolist()


SHIPPED = default_policy()


@pytest.mark.parametrize('method', ['otter', 'perceiver', 'univla'])
def test_the_shipped_resamplers_plan_from_their_own_tokens(method):
    policy = Policy.from_pretrained(SHIPPED, architecture='single', resampling_method=method)
    policy.act(frame(), SENTENCE)
    plan = policy.reasoner.plan(policy.perception.encode(frame()), SENTENCE)
    assert len(plan.kept) == {'otter': 16, 'perceiver': 32, 'univla': 144}[method]
    assert (np.diff(plan.kept) > 0).all()
    dense = Policy.from_pretrained(SHIPPED, architecture='single')
    reference = dense.reasoner.plan(dense.perception.encode(frame()), SENTENCE)
    assert not np.allclose(plan.latents, reference.latents)


def test_action_words_of_the_shipped_vocabulary_are_a_chunk():
    policy = Policy.from_pretrained(
        SHIPPED, architecture='single', head='tokens', resampling_method='univla'
    )
    chunk = policy.act(frame(), SENTENCE)
    assert chunk.actions.shape == (40, 4)
    assert np.abs(chunk.actions[:, :3]).max() < 0.05


@pytest.mark.parametrize('method', ['lightvla', 'fastdrivevla'])
def test_the_shipped_scorers_choose_tokens(method):
    policy = Policy.from_pretrained(SHIPPED, pruning_method=method, pruning_keep=0.25)
    plan = policy.reasoner.plan(policy.perception.encode(frame()), SENTENCE)
    assert 8 <= len(plan.kept) <= 36


def test_resampled_tokens_cannot_be_pruned_and_action_words_need_the_plan_alone():
    with pytest.raises(InvalidSettingError, match='no place in the image'):
        Policy.from_pretrained(SHIPPED, resampling_method='otter', pruning_method='fastv')
    with pytest.raises(InvalidSettingError, match='architecture'):
        Policy.from_pretrained(SHIPPED, head='tokens', architecture='dual')


def test_identity_reuse_of_an_unchanged_frame_is_dense(folder):
    dense, cached = (Policy.from_pretrained(folder, cache_method=m) for m in ('none', 'reuse'))
    for stamp in (0.0, 0.1):
        assert np.array_equal(
            dense.act(frame(stamp), SENTENCE).actions, cached.act(frame(stamp), SENTENCE).actions
        )


@pytest.mark.parametrize('method', ['fastv', 'uniform', 'random'])
def test_pruning_keeps_the_share_it_is_told(folder, method):
    policy = Policy.from_pretrained(folder, pruning_method=method, pruning_keep=0.25)
    tokens = policy.perception.encode(frame())
    plan = policy.reasoner.plan(tokens, SENTENCE)
    assert plan.tokens_total == 144
    assert len(plan.kept) == 36
    assert (np.diff(plan.kept) > 0).all()
    assert not np.array_equal(
        plan.latents, Policy.from_pretrained(folder).reasoner.plan(tokens, SENTENCE).latents
    )


@pytest.mark.parametrize('mode', ['bf16', 'int8_dynamic', 'int8_weight', 'int4_weight', 'nf4'])
def test_quantization_is_close_and_smaller(folder, mode):
    policy = Policy.from_pretrained(folder, quantization_mode=mode)
    dense = Policy.from_pretrained(folder)
    assert policy.reasoner.parameters_mb < dense.reasoner.parameters_mb
    tokens = dense.perception.encode(frame())
    exact = dense.reasoner.plan(tokens, SENTENCE).latents
    error = np.linalg.norm(policy.reasoner.plan(tokens, SENTENCE).latents - exact)
    assert 0 < error < (0.2 if mode in ('int4_weight', 'nf4') else 0.1) * np.linalg.norm(exact)


def test_skipping_an_unchanged_frame_keeps_the_plan_until_the_instruction_changes(folder):
    policy = Policy.from_pretrained(folder, cache_method='skip')
    first = policy.act(frame(0.0), SENTENCE)
    assert policy.act(frame(0.1), SENTENCE).plan_sequence == first.plan_sequence
    assert policy.act(frame(0.2), 'press the button').plan_sequence > first.plan_sequence


def test_a_refused_instruction_leaves_no_plan_of_an_earlier_image(folder):
    policy = Policy.from_pretrained(folder, cache_method='skip')
    policy.act(frame(0.0, seed=0), SENTENCE)
    with pytest.raises(InvalidRecordError, match='tokens'):
        policy.act(frame(0.1, seed=1), 'zq ' * 200)
    chunk = policy.act(frame(0.2, seed=1), SENTENCE)
    assert chunk.plan_stamp == 0.1
    expected = Policy.from_pretrained(folder).act(frame(0.2, seed=1), SENTENCE)
    assert np.array_equal(chunk.actions, expected.actions)


def test_settings_change_between_frames(folder):
    policy = Policy.from_pretrained(folder)
    tokens = policy.perception.encode(frame())
    assert len(policy.reasoner.plan(tokens, SENTENCE).kept) == 144
    settings = policy.reasoner._settings
    fewer = dataclasses.replace(
        settings, pruning=dataclasses.replace(settings.pruning, method='uniform', keep=0.5)
    )
    policy.reasoner.configure(fewer)
    assert len(policy.reasoner.plan(tokens, SENTENCE).kept) == 72


def test_a_drop_layer_beyond_the_decoder_is_refused(folder):
    with pytest.raises(InvalidRecordError, match='8 layers'):
        Policy.from_pretrained(folder, pruning_method='fastv', pruning_layer=8)


def test_unknown_keywords_and_values_are_named(folder):
    with pytest.raises(InvalidSettingError, match='prune'):
        Policy.from_pretrained(folder, prune=0.5)
    with pytest.raises(InvalidSettingError, match='at most 1'):
        Policy.from_pretrained(folder, pruning_keep=1.5)
    with pytest.raises(InvalidSettingError, match='int4'):
        Policy.from_pretrained(folder, quantization_mode='int4')


def test_bad_observations_are_refused(folder):
    policy = Policy.from_pretrained(folder)
    with pytest.raises(InvalidRecordError, match='not finite'):
        Frame({}, np.array([0.0, np.nan, 0.0, 0.0], np.float32), 0.0)
    with pytest.raises(InvalidRecordError, match='1x1'):
        Frame({'corner2': np.zeros((1, 1, 3), np.uint8)}, np.zeros(4, np.float32), 0.0)
    wide = Frame(frame().images, np.zeros(7, np.float32), 0.0)
    with pytest.raises(InvalidRecordError, match='7 numbers'):
        policy.act(wide, SENTENCE)


@pytest.mark.parametrize(
    'sentence',
    ['', '   ', 'x' * 10_000, 'открой дверь', '开门', None, 5, [SENTENCE], SENTENCE.encode()],
)
def test_instructions_that_no_policy_understands_are_refused(folder, sentence):
    with pytest.raises(InvalidRecordError, match='instruction'):
        Policy.from_pretrained(folder).act(frame(), sentence)


def test_a_sentence_of_too_many_tokens_is_refused_not_cut(folder):
    with pytest.raises(InvalidRecordError, match='tokens'):
        Policy.from_pretrained(folder).act(frame(), 'zq ' * 200)


def test_a_policy_that_looks_at_images_follows_no_plan_without_one(folder):
    dual, single = (Policy.from_pretrained(folder, architecture=a) for a in ('dual', 'single'))
    for policy in (dual, single):
        with pytest.raises(InvalidRecordError, match=f'architecture {policy.actor.architecture}'):
            policy.follow(frame().state)


def test_a_keyword_of_several_stages_means_the_one_that_is_told(folder):
    policy = Policy.from_pretrained(folder, quantization_mode='bf16')
    assert next(policy.actor.generator.parameters()).dtype == torch.float32
    with pytest.raises(InvalidSettingError, match='heads of this policy are small'):
        Policy.from_pretrained(folder, actor_quantization_mode='bf16')


@pytest.mark.parametrize('architecture', ['single', 'dual'])
def test_weights_of_the_head_regression_can_be_packed_but_not_its_inputs(folder, architecture):
    small, exact = (
        Policy.from_pretrained(folder, architecture=architecture, actor_quantization_mode=mode)
        for mode in ('int4_weight', 'none')
    )
    assert small.actor.parameters_mb < 0.7 * exact.actor.parameters_mb
    found, wanted = (made.act(frame(), SENTENCE).actions for made in (small, exact))
    assert 0 < np.linalg.norm(found - wanted) < 0.3 * np.linalg.norm(wanted)
    with pytest.raises(InvalidSettingError, match='heads of this policy are small'):
        Policy.from_pretrained(folder, actor_quantization_mode='ternary')


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({}, 'dual'),
        ({'head': 'flow'}, 'single'),
        ({'architecture': 'single'}, 'single'),
    ],
)
def test_auto_is_the_architecture_that_the_head_needs(folder, values, expected):
    assert architecture_of(folder, build(ActorSettings, values)) == expected
