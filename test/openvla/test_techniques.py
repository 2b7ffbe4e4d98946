# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The techniques of this package on OpenVLA and OpenVLA-OFT: the same where they spend all."""

import numpy as np
import pytest
from tiny_openvla import GRID, STATES

from efficient_vla.policy import Policy
from efficient_vla.types import InvalidRecordError

TASK = 'open the drawer'
BASE = {
    'joints_rate': 5.0,
    'openvla_gripper': 'opening',
    'device': 'cpu',
    'unnorm_key': 'bridge_orig',
}
OFT = BASE | {
    'unnorm_key': '',
    'openvla_chunk': 3,
    'joints_state_names': tuple('abcdefgh'),
}
STATE = np.linspace(-0.5, 0.5, STATES).astype(np.float32)


@pytest.fixture(params=['base', 'oft'])
def act(request, folder, oft):
    """Return what makes a policy of settings and gives its plan and chunk of an image."""
    path, known = (folder, BASE) if request.param == 'base' else (oft, OFT)

    def made(**settings):
        policy = Policy.from_pretrained(path, **known, **settings)

        def chunk(image, stamp=0.0):
            state = STATE if request.param == 'oft' else None
            found = policy.act(image, TASK, state=state, stamp=stamp)
            return policy._plan, found

        chunk.policy = policy
        return chunk

    return made


@pytest.fixture
def image():
    return np.random.default_rng(8).integers(0, 256, (42, 42, 3), np.uint8)


def changed(image):
    other = image.copy()
    other[:14, :14] = 255 - other[:14, :14]
    return other


def test_identity_all_tokens_kept_is_bitwise_dense(act, image):
    _, dense = act()(image)
    plan, kept = act(pruning_method='fastv', pruning_keep=1.0, pruning_layer=1)(image)
    assert np.array_equal(dense.actions, kept.actions)
    assert len(plan.kept) == GRID**2


@pytest.mark.parametrize(('method', 'layer'), [('fastv', 1), ('uniform', 0), ('sqap', 2)])
def test_a_selector_drops_tokens_and_the_answer_goes_on_behind_the_rest(act, image, method, layer):
    few = {'pruning_keep': 0.4, 'pruning_min_tokens': 1, 'pruning_layer': layer}
    plan, chunk = act(pruning_method=method, **few)(image)
    dense, whole = act()(image)
    assert len(plan.kept) == 4
    assert plan.tokens_total == GRID**2
    assert not np.array_equal(plan.latents, dense.latents)
    assert chunk.actions.shape == whole.actions.shape


def test_keys_and_values_of_a_still_scene_are_reused_and_change_nothing(act, image):
    reuse = {'reuse_method': 'vla_cache', 'reuse_adaptive': False, 'reuse_task_share': 0.0}
    run = act(**reuse)
    _, first = run(image, 0.0)
    plan, second = run(image, 0.1)
    assert len(plan.reused) == GRID**2
    assert np.abs(second.actions - first.actions).max() < 1e-5
    _, dense = act()(image)
    assert np.abs(dense.actions - first.actions).max() < 1e-5


def test_a_later_frame_leaves_the_prefix_of_an_earlier_plan_alone(folder, image):
    reuse = {'reuse_method': 'vla_cache', 'reuse_adaptive': False, 'reuse_task_share': 0.0}
    policy = Policy.from_pretrained(folder, **BASE, **reuse)
    policy.act(image, TASK, stamp=0.0)
    plan = policy._plan
    before = [keys.clone() for keys in plan.cache.keys]
    policy.act(changed(image), TASK, stamp=0.1)
    assert policy._plan is not plan
    assert all(np.array_equal(a, b) for a, b in zip(before, plan.cache.keys, strict=True))


def test_only_changed_patches_of_the_towers_are_computed(act, image):
    run = act(cache_method='patch', cache_max_error=100.0, cache_probe=0.001)
    before, _ = run(image, 0.0)
    after, _ = run(changed(image), 0.1)
    report = run.policy.perception.last
    assert (report.patches, report.changed, report.computed) == (GRID**2, 1, 2)  # one is a probe
    assert report.token_error > 0
    assert not np.allclose(after.latents, before.latents)


def test_identity_a_patch_cache_of_a_still_scene_gives_the_dense_tokens(act, image):
    run = act(cache_method='patch')
    run(image, 0.0)
    _, second = run(image, 0.1)
    _, dense = act()(image)
    assert np.abs(second.actions - dense.actions).max() < 1e-5


@pytest.mark.parametrize('mode', ['bf16', 'int8_dynamic', 'int8_weight'])
def test_smaller_numbers_stay_near_the_latents(act, image, mode):
    dense, _ = act()(image)
    small, chunk = act(quantization_mode=mode)(image)
    change = np.linalg.norm(small.latents - dense.latents) / np.linalg.norm(dense.latents)
    assert 0 < change < 0.1
    assert np.isfinite(chunk.actions).all()


@pytest.mark.parametrize('mode', ['bf16', 'int8_dynamic', 'int8_weight'])
def test_towers_in_smaller_numbers_stay_near_the_tokens(act, image, mode):
    dense, _ = act()(image)
    small, _ = act(perception_quantization_mode=mode)(image)
    change = np.linalg.norm(small.latents - dense.latents) / np.linalg.norm(dense.latents)
    assert 0 < change < 0.1


def test_selectors_that_ask_for_signals_of_the_towers_get_them(act, image):
    spent = {'pruning_method': 'otter', 'pruning_keep': 0.5, 'pruning_min_tokens': 1}
    spent = spent | {'pruning_method': 'sqap', 'pruning_protect_contours': 0.001}
    plan, _ = act(signals=True, **spent)(image)
    assert 0 < len(plan.kept) <= GRID**2


def test_a_selector_of_motion_needs_names_of_the_state(folder, image):
    motion = {'pruning_method': 'sp_vla', 'pruning_keep': 0.4, 'signals': True}
    with pytest.raises(InvalidRecordError, match='motion'):
        Policy.from_pretrained(folder, **BASE, **motion)
    named = {'joints_state_names': ('x', 'y', 'z', 'gripper'), 'pruning_min_tokens': 1}
    policy = Policy.from_pretrained(folder, **BASE, **motion, **named)
    policy.act(image, TASK, state=np.zeros(4, np.float32), stamp=0.0)
    policy.act(image, TASK, state=np.array([0.001, 0.0, 0.0, 0.0], np.float32), stamp=0.1)
    slow = len(policy.plan.kept)
    policy.act(image, TASK, state=np.array([0.5, 0.0, 0.0, 0.0], np.float32), stamp=0.2)
    assert len(policy.plan.kept) < slow == 4
