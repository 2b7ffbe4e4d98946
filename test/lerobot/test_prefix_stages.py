# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""SmolVLA, pi0 and pi0.5 as stages: what a robot gives goes in, the rows of LeRobot come out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lerobot_folders import FIXTURES, normalise_by, observation, reference, rewrite
from prefix_policies import CAMERAS, PREFIXES, ROBOT, TASK, fixed_noise, loaded, moved, seen
from safetensors.torch import load_file, save_file

from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot import smolvla
from efficient_vla.lerobot.folder import open_folder
from efficient_vla.nodes.stages.cache_messages import cache_to_message, message_to_cache
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import ControlMode, InvalidRecordError


@pytest.mark.parametrize('name', PREFIXES)
def test_a_chunk_is_that_of_lerobot_in_the_names_of_the_robot(name):
    found = reference(name)
    policy, (images, state) = loaded(name), seen(name)
    fixed_noise(policy, found['input.noise'])
    chunk = policy.act(images, str(found['input.task']), state=state, stamp=2.0)
    np.testing.assert_allclose(chunk.actions, found['actions'][0], atol=2e-3)
    assert (chunk.names, chunk.dt) == (ROBOT['joints_names'], 0.1)
    assert chunk.control_mode is ControlMode.JOINT_POSITION
    assert policy.actor.architecture == 'single'


def test_only_the_rows_that_lerobot_executes_are_given(copied):
    folder = copied('smolvla')
    rewrite(folder, 'config.json', lambda config: config.update(n_action_steps=3))
    policy, (images, state) = Policy.from_pretrained(folder, **ROBOT), seen('smolvla')
    fixed_noise(policy, reference('smolvla')['input.noise'])
    chunk = policy.act(images, str(reference('smolvla')['input.task']), state=state, stamp=0.0)
    np.testing.assert_allclose(chunk.actions, reference('smolvla')['actions'][0, :3], atol=2e-3)


def test_a_camera_that_the_robot_lacks_is_named_before_anything_moves():
    images, state = seen('smolvla_base')
    policy = loaded('smolvla_base', cameras=())
    with pytest.raises(InvalidRecordError, match="'camera3' is missing"):
        policy.act(images, TASK, state=state)


def test_a_camera_that_the_policy_does_not_know_is_refused():
    with pytest.raises(InvalidSettingError, match='knows no side'):
        loaded('smolvla', cameras=('front', 'side'))


def test_noise_is_the_same_after_a_reset_and_another_with_another_seed():
    images, state = seen('smolvla')
    policy = loaded('smolvla')
    first, second = (policy.act(images, TASK, state=state, stamp=t).actions for t in (0.0, 1.0))
    policy.reset()
    again = policy.act(images, TASK, state=state, stamp=0.0).actions
    other = loaded('smolvla', seed=1).act(images, TASK, state=state, stamp=0.0).actions
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 0.1
    assert np.abs(first - other).max() > 0.1


def test_the_plan_is_made_with_the_state_nearest_to_the_frame():
    images, state = seen('smolvla')
    policy = loaded('smolvla')
    tokens = policy.perception.encode(_frame(images, state, 5.0))
    for stamp, offset in ((4.7, 3.0), (5.01, 0.0), (5.4, -3.0)):
        policy.reasoner.observe(state + np.float32(offset), stamp)
    expected = policy.actor.space.normalised(state)
    plan = policy.reasoner.plan(tokens, TASK)
    np.testing.assert_array_equal(plan.cache.state[0].numpy(), expected)
    assert plan.latents.shape == (1, 32)


def test_of_two_states_at_one_time_the_newer_is_in_the_plan():
    images, state = seen('pi05')
    chunks = []
    for states in ([state + 5], [state, state + 5]):
        policy = loaded('pi05')
        fixed_noise(policy, reference('pi05')['input.noise'])
        chunks.append([policy.act(images, TASK, state=one, stamp=1.0) for one in states][-1])
    np.testing.assert_allclose(chunks[1].actions, chunks[0].actions, atol=2e-3)


@pytest.mark.parametrize('stamp', [None, 4.0])
def test_without_a_state_near_the_frame_there_is_no_plan(stamp):
    images, state = seen('smolvla')
    policy = loaded('smolvla')
    tokens = policy.perception.encode(_frame(images, state, 5.0))
    if stamp is not None:
        policy.reasoner.observe(state, stamp)
    with pytest.raises(InvalidRecordError, match='no robot state for the frame'):
        policy.reasoner.plan(tokens, TASK)


def test_a_plan_without_its_keys_and_values_is_refused():
    images, state = seen('smolvla')
    policy = loaded('smolvla')
    policy.act(images, TASK, state=state, stamp=0.0)
    bare = replace(policy._plan, cache=None)
    with pytest.raises(InvalidRecordError, match='in the same process'):
        policy.actor.chunk(bare, _frame(images, state, 0.0))


def sent(plan):
    """Return a plan as an actor in another process has it."""
    return replace(plan, cache=message_to_cache(cache_to_message(plan)))


@pytest.mark.parametrize('name', PREFIXES)
def test_an_actor_in_another_process_makes_the_same_chunk(name):
    images, state = seen(name)
    policy, apart = loaded(name), loaded(name)
    expected = policy.act(images, TASK, state=state, stamp=0.0).actions
    found = apart.actor.chunk(sent(policy._plan), _frame(images, state, 0.0)).actions
    np.testing.assert_array_equal(found, expected)


def test_what_renews_the_state_does_not_travel():
    images, state = seen('smolvla')
    policy, frame = loaded('smolvla', architecture='dual'), _frame(images, state, 0.2)
    policy.act(images, TASK, state=state, stamp=0.0)
    with pytest.raises(InvalidRecordError, match='set architecture to single'):
        policy.actor.chunk(sent(policy._plan), frame)
    images, state = seen('pi0')
    policy, newer = loaded('pi0', architecture='dual'), state + np.float32(5)
    policy.act(images, TASK, state=state, stamp=0.0)
    plan = policy._plan
    policy.reset()
    expected = policy.actor.chunk(plan, _frame(images, newer, 0.2)).actions
    policy.reset()
    found = policy.actor.chunk(sent(plan), _frame(images, newer, 0.2)).actions
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('name', ['smolvla', 'pi0'])
@pytest.mark.parametrize('wrong', ['layers', 'heads', 'width'])
def test_keys_and_values_of_another_policy_are_refused(name, wrong):
    images, state = seen(name)
    policy = loaded(name)
    policy.act(images, TASK, state=state, stamp=0.0)
    cache = policy._plan.cache
    last = cache.keys[-1]
    changed = {
        'layers': cache.keys[:1],
        'heads': (*cache.keys[:-1], last.repeat(1, 2, 1, 1)),
        'width': (*cache.keys[:-1], last[..., :-2]),
    }[wrong]
    foreign = replace(policy._plan, cache=replace(cache, keys=changed))
    with pytest.raises(InvalidRecordError, match='the same policy'):
        policy.actor.chunk(foreign, _frame(images, state, 0.0))


@pytest.mark.parametrize('name', ['smolvla', 'smolvla_switches', 'pi0'])
def test_a_dual_policy_follows_an_old_plan_with_the_state_of_now(name):
    images, state = seen(name)
    newer = state + np.linspace(-20, 20, 6, dtype=np.float32)
    dual, single = loaded(name, architecture='dual'), loaded(name)
    for policy in (dual, single):
        policy.act(images, TASK, state=state, stamp=0.0)
    kept = dual._plan.cache
    followed = dual.follow(newer, stamp=0.2)
    expected = single.act(images, TASK, state=newer, stamp=0.2)
    stale = loaded(name)
    stale.act(images, TASK, state=state, stamp=0.0)
    old = stale.act(images, TASK, state=state, stamp=0.2)
    np.testing.assert_allclose(followed.actions, expected.actions, atol=2e-3)
    assert np.abs(followed.actions - old.actions).max() > 0.1
    assert dual._plan.cache is kept
    assert (followed.stamp, followed.plan_stamp) == (0.2, 0.0)


def test_without_a_plan_of_its_own_rate_nothing_is_followed():
    state = seen('smolvla')[1]
    with pytest.raises(InvalidRecordError, match='architecture single'):
        loaded('smolvla').follow(state)
    with pytest.raises(InvalidRecordError, match='no plan to follow'):
        loaded('smolvla', architecture='dual').follow(state)


def test_every_camera_is_normalised_by_its_own_statistics(copied):
    folder = copied('smolvla')
    normalise_by(folder, {'VISUAL': 'MEAN_STD'})
    for path in folder.glob('policy_*.safetensors'):
        held = load_file(path)
        for camera, mean in (('front', 0.2), ('wrist', 0.7)):
            held[f'observation.images.{camera}.mean'].fill_(mean)
            held[f'observation.images.{camera}.std'].fill_(0.4)
        save_file(held, path)
    raw, noise = observation('smolvla'), reference('smolvla')['input.noise']
    opened = open_folder(folder)
    batch = opened.preprocess(raw)
    found = smolvla.replay(opened, batch, torch.from_numpy(noise))
    expected = opened.postprocess(found['chunk'], batch)[0]
    policy, (images, state) = Policy.from_pretrained(folder, **ROBOT), seen('smolvla')
    fixed_noise(policy, noise)
    chunk = policy.act(images, raw['task'], state=state, stamp=1.0)
    np.testing.assert_allclose(chunk.actions, expected, atol=2e-3)


def test_rows_that_a_state_was_added_to_are_no_displacements():
    with pytest.raises(InvalidSettingError, match='mode is joint_delta; expected joint_position'):
        loaded('pi05', joints_mode='joint_delta')


def test_words_that_hold_the_state_need_a_plan_for_each():
    with pytest.raises(InvalidSettingError, match='words of this policy hold the state'):
        loaded('pi05', architecture='dual')
    with pytest.raises(InvalidSettingError, match='words of this policy hold the state'):
        loaded('pi05', cache_method='skip')


@pytest.mark.parametrize('name', ['smolvla', 'pi0'])
@pytest.mark.parametrize('method', ['reuse', 'skip'])
def test_an_unchanged_image_costs_no_tower_and_loses_no_state(name, method):
    images, state = seen(name)
    newer = state + np.float32(15.0)
    policy, dense = loaded(name, cache_method=method), loaded(name)
    for made in (policy, dense):
        made.act(images, TASK, state=state, stamp=0.0)
    chunks = [made.act(images, TASK, state=newer, stamp=0.2) for made in (policy, dense)]
    assert policy.perception.last.computed == 0
    np.testing.assert_allclose(chunks[0].actions, chunks[1].actions, atol=2e-3)
    assert (
        np.abs(
            chunks[0].actions - dense.act(moved(images), TASK, state=newer, stamp=0.4).actions
        ).max()
        > 0.05
    )


def test_rows_that_are_counted_from_the_state_are_moved_with_it():
    space = loaded('pi05').actor.space
    state = seen('pi05')[1]
    newer = state + np.linspace(-5, 5, 6, dtype=np.float32)
    rows = reference('pi05')['chunk'][0]
    carried = space.carried(rows, state, newer)
    np.testing.assert_allclose(space.actions(carried, newer), space.actions(rows, state), atol=1e-3)
    assert np.abs(carried - rows)[:, :5].max() > 0.05
    np.testing.assert_array_equal(carried[:, 5], rows[:, 5])


def test_rows_of_a_column_without_width_are_carried_as_they_are(copied):
    folder = copied('pi05')
    normalise_by(folder, {'ACTION': 'MEAN_STD'})
    for path in folder.glob('policy_*.safetensors'):
        held = load_file(path)
        held['action.std'][2] = 0
        save_file(held, path)
    space, state = Policy.from_pretrained(folder, **ROBOT).actor.space, seen('pi05')[1]
    rows = reference('pi05')['chunk'][0]
    carried = space.carried(rows, state, state + np.float32(3))
    np.testing.assert_array_equal(carried[:, 2], rows[:, 2])
    assert np.isfinite(carried).all()
    assert (carried[:, 1] != rows[:, 1]).all()


def test_rows_that_say_where_to_go_mean_the_same_in_any_state():
    space, state = loaded('smolvla').actor.space, seen('smolvla')[1]
    rows = reference('smolvla')['chunk'][0]
    np.testing.assert_array_equal(space.carried(rows, state, state + 9), rows)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'adapt_to_pi_aloha': True}, 'ALOHA'),
        ({'attention_mode': 'other'}, 'attention_mode'),
        ({'num_vlm_layers': 5}, 'num_vlm_layers'),
        ({'resize_imgs_with_padding': [64, 32]}, 'square'),
        ({'chunk_size': 0}, 'chunk_size'),
    ],
)
def test_a_configuration_that_the_folder_cannot_have_is_one_sentence(copied, change, said):
    folder = copied('smolvla')
    rewrite(folder, 'config.json', lambda config: config.update(change))
    with pytest.raises(CheckpointError, match=said):
        Policy.from_pretrained(folder, **ROBOT)


def hubless(folder, monkeypatch, tmp_path):
    """Return where the files of the language model are, which the cache no longer has."""
    (files,) = (FIXTURES / 'hub').glob('models--Hugging*/snapshots/*')
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path / 'nothing'))
    return files


def test_a_model_that_nobody_knows_is_said_before_and_its_files_may_lie_in_the_folder(
    copied, monkeypatch, tmp_path
):
    folder = copied('smolvla')
    files = hubless(folder, monkeypatch, tmp_path)
    tokenizer = {'tokenizer': str(files)}
    with pytest.raises(CheckpointError, match='nothing more is known'):
        Policy.from_pretrained(folder, **ROBOT, **tokenizer)
    assert 'Copy that file into' in folder_facts(folder).missing[0]
    (folder / 'vlm').mkdir()
    for file in files.glob('*.json'):
        (folder / 'vlm' / file.name).write_bytes(file.read_bytes())
    assert folder_facts(folder).missing == ()
    images, state = seen('smolvla')
    chunk = Policy.from_pretrained(folder, **ROBOT).act(images, TASK, state=state)
    assert np.isfinite(chunk.actions).all()


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda c: c['vision_config'].update(hidden_size=48), 'says widths 48 and 32'),
        (lambda c: c.pop('text_config'), 'does not describe a SmolVLM'),
        (lambda c: c['vision_config'].update(num_attention_heads=3), 'does not describe a SmolVLM'),
    ],
)
def test_the_configuration_of_another_model_is_refused(copied, change, said):
    folder = copied('smolvla')
    (files,) = (FIXTURES / 'hub').glob('models--Hugging*/snapshots/*')
    (folder / 'vlm').mkdir()
    (folder / 'vlm/config.json').write_bytes((files / 'config.json').read_bytes())
    rewrite(folder, 'vlm/config.json', change)
    with pytest.raises(CheckpointError, match=said):
        Policy.from_pretrained(folder, **ROBOT)


def _frame(images, state, stamp):
    from efficient_vla.types import Frame

    return Frame(images, state, stamp)


def test_cameras_that_a_fixture_lacks_are_left_out_of_its_tokens():
    images, state = seen('pi0')
    tokens = loaded('pi0').perception.encode(_frame(images, state, 0.0))
    assert set(CAMERAS['pi0']) == set(images)
    assert len(tokens.features) == 8
