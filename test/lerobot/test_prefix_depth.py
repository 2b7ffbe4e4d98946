# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Layers of a prefix are chosen for each frame, and the expert has keys and values of all."""

import numpy as np
import pytest
import torch
from prefix_policies import CAMERAS, ROBOT, TASK, seen
from torch.nn import functional as F

from efficient_vla import checkpoint
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.policy import Policy
from efficient_vla.reasoning.depth.mole import LayerRouter
from efficient_vla.reasoning.depth.prefix_exits import PrefixExits, RowHead
from efficient_vla.settings import InvalidSettingError
from efficient_vla.training.files import prefixed, write_addon
from efficient_vla.training.prefix import PrefixFrozen

NEVER, ALWAYS = -1.0, 1e9


def sizes(folder):
    policy = Policy.from_pretrained(folder, cameras=CAMERAS.get(folder.name, ()), **ROBOT)
    trunk = policy.reasoner.trunk
    return len(trunk.parts.layers), trunk.token_width


def with_exits(folder, spread=0.0, depth=0, said=None):
    """Write exits after each layer, whose maps add numbers of this spread."""
    layers, width = sizes(folder)
    depth = depth or layers
    places = list(range(1, depth - 1))
    costs = [*np.linspace(0.4, 0.8, len(places)).tolist(), 1.0]
    shape = {'layers': places, 'depth': depth, 'width': width, 'rank': 4}
    shape |= {'numbers': 3, 'frames': 8, 'costs': costs}
    torch.manual_seed(0)
    made = PrefixExits(**shape)
    for maps in made.maps:
        for one in maps:
            torch.nn.init.normal_(one.mix.weight, std=spread)
    made.changes.copy_(torch.rand(8, len(places)))
    tensors = prefixed('module.', made)
    write_addon(folder, 'early_exit', shape | (said or {}), tensors, checkpoint.sha256(folder))
    return folder


def with_router(folder, scores, updates=()):
    layers, width = sizes(folder)
    shape = {'layers': layers, 'width': width}
    torch.manual_seed(0)
    made = LayerRouter(**shape)
    with torch.no_grad():
        # The image says nothing and the sentence the same numbers whatever it is.
        for part in (made.image[2].weight, made.image[2].bias, made.text.weight):
            part.zero_()
        made.text.bias.copy_(torch.tensor(scores))
    tensors = prefixed('module.', made) | dict(updates)
    write_addon(folder, 'mole', shape, tensors, checkpoint.sha256(folder))
    return folder


def loaded(folder, **settings):
    given = {'cameras': CAMERAS.get(folder.name, ()), **ROBOT, **settings}
    return Policy.from_pretrained(folder, **given)


def leaving(folder, exit_, **settings):
    """Return a policy whose passes all end at an exit, counted from 0."""
    policy = loaded(folder, depth_method='early_exit', depth_budget=0.99, **settings)
    pilot = policy.reasoner._pilot
    count = len(pilot._exits.layers)
    way = [ALWAYS if place == exit_ else NEVER for place in range(count)]
    pilot._thresholds = [tuple(way)] * len(pilot._thresholds)
    return policy


def acted(policy, name, stamp=0.0, state=None):
    images, own = seen(name)
    return policy.act(images, TASK, state=own if state is None else state, stamp=stamp)


def same(found, expected, layers=None):
    for layer in range(len(expected.keys)) if layers is None else layers:
        torch.testing.assert_close(found.keys[layer], expected.keys[layer], atol=1e-5, rtol=0)
        torch.testing.assert_close(found.values[layer], expected.values[layer], atol=1e-5, rtol=0)


@pytest.mark.parametrize('name', ['smolvla', 'pi0', 'pi05'])
def test_identity_a_pass_that_ends_at_no_exit_is_dense(copied, name):
    folder = with_exits(copied(name), spread=1.0)
    policy, dense = loaded(folder, depth_method='early_exit', depth_budget=1.0), loaded(folder)
    chunks = [acted(p, name).actions for p in (policy, dense)]
    same(policy._plan.cache, dense._plan.cache)
    np.testing.assert_allclose(*chunks, atol=2e-3)  # degrees: the rounding of a normalised chunk
    depth = len(dense._plan.cache.keys)
    assert policy._plan.reason == f'early_exit after {depth - 1} of {depth - 1} layers'
    # Each exit was compared with the one before, the first with the rows that enter layer 0.
    assert len(policy.reasoner.trunk.route.changes) == depth - 2


@pytest.mark.parametrize('name', ['smolvla', 'pi0', 'pi05'])
def test_an_exit_without_maps_is_a_prefix_cut_there(copied, name):
    folder = with_exits(copied(name))
    policy = leaving(folder, 0)
    cut = loaded(folder, depth_method='truncate', depth_layers=1)
    chunks = [acted(p, name).actions for p in (policy, cut)]
    same(policy._plan.cache, cut._plan.cache)
    np.testing.assert_allclose(*chunks, atol=2e-3)
    assert 'early_exit after 1 of' in policy._plan.reason


def test_layers_behind_an_exit_project_what_its_maps_make_of_the_rows(copied):
    folder = with_exits(copied('smolvla'), spread=0.5)
    policy, dense = leaving(folder, 1), loaded(folder)
    for one in (policy, dense):
        acted(one, 'smolvla')
    found, expected = policy._plan.cache, dense._plan.cache
    same(found, expected, layers=range(3))  # the next layer has its own rows all the same
    parts, rows = policy.reasoner.trunk.parts, []
    parts.layers[1].register_forward_hook(lambda layer, given, made: rows.append(made))
    acted(policy, 'smolvla', 0.1)
    (row_map,) = policy.reasoner._pilot._exits.maps[1]
    with torch.inference_mode():
        normed = F.rms_norm(rows[0], rows[0].shape[-1:], row_map.norm.weight)
        hidden = rows[0] + row_map.mix(F.gelu(row_map.down(normed)))
        place = torch.arange(hidden.shape[1])[None]
        turn = parts.rotary(hidden, place)[parts.kind(3)]
        keys, values = parts.layers[3].enter(hidden, *turn)
    assert policy.reasoner.trunk.route.cost == policy.reasoner._pilot._exits.costs[1]
    assert not torch.allclose(found.keys[3], expected.keys[3], atol=1e-2)
    torch.testing.assert_close(policy._plan.cache.keys[3], keys, atol=1e-5, rtol=0)
    torch.testing.assert_close(policy._plan.cache.values[3], values, atol=1e-5, rtol=0)


@torch.no_grad()
def test_what_an_exit_says_is_read_from_the_largest_numbers_and_the_last_row():
    torch.manual_seed(0)
    head = RowHead(2, 3)
    torch.nn.init.normal_(head.norm.weight)
    # Rows of length 5 over numbers whose mean square is 12.5.
    rows = torch.tensor([[[4.0, -3.0], [-4.0, 3.0], [3.0, 4.0], [-3.0, -4.0]]])
    normed = rows / 12.5**0.5 * head.norm.weight
    read = torch.tensor([[*(max(column) for column in normed[0].T.tolist()), *normed[0, 3]]])
    found = head(rows)
    torch.testing.assert_close(found, head.say(F.gelu(head.read(read))), atol=1e-5, rtol=0)
    assert torch.equal(head(rows[:, [1, 2, 0, 3]]), found)


def test_a_row_of_a_newer_state_leaves_where_the_others_left(copied):
    name = 'smolvla'
    folder = with_exits(copied(name), spread=0.5)
    policy, again = leaving(folder, 0), leaving(folder, 0)
    acted(policy, name)
    newer = seen(name)[1] + np.float32(4.0)
    acted(again, name, state=newer)
    renewed = policy._plan.cache.renewed(again._plan.cache.state)
    assert not torch.allclose(policy._plan.cache.keys[3], renewed.keys[3], atol=1e-4)
    same(renewed, again._plan.cache)


@pytest.mark.parametrize('layer', [1, 2, 3])
def test_tokens_that_are_dropped_behind_an_exit_are_gone_from_there_on(copied, layer):
    folder = with_exits(copied('smolvla'), spread=0.5)
    given = {'pruning_method': 'fastv', 'pruning_keep': 0.5, 'pruning_min_tokens': 2}
    policy = leaving(folder, 0, pruning_layer=layer, **given)
    for step in range(3):
        acted(policy, 'smolvla', 0.1 * step)
    lengths = [keys.shape[2] for keys in policy._plan.cache.keys]
    assert lengths[layer] < lengths[layer - 1]
    assert len(policy._plan.kept) == 4


def test_the_last_exit_always_answers_and_what_is_behind_leaves_the_memory(copied):
    folder = with_exits(copied('smolvla'), spread=0.5)
    policy = loaded(folder, depth_method='early_exit', depth_layers=2, depth_budget=0.79)
    dense = loaded(folder)
    acted(policy, 'smolvla')
    assert 'after 2 of 3' in policy._plan.reason
    assert policy.reasoner.parameters_mb < dense.reasoner.parameters_mb


@pytest.mark.parametrize(
    ('settings', 'reason'),
    [
        ({'depth_budget': 0.2}, 'depth.budget is 0.2 .* at least 0.400'),
        ({'reuse_method': 'vla_cache'}, 'reuse.method is vla_cache with depth.method early_exit'),
    ],
)
def test_settings_without_meaning_are_refused(copied, settings, reason):
    folder = with_exits(copied('smolvla'))
    with pytest.raises(InvalidSettingError, match=reason):
        loaded(folder, **{'depth_method': 'early_exit', 'depth_budget': 0.9} | settings)


def test_exits_of_another_prefix_are_refused(copied):
    folder = with_exits(copied('smolvla'), depth=5)
    with pytest.raises(InvalidSettingError, match='a decoder of 5 layers; this one has 4'):
        loaded(folder, depth_method='early_exit', depth_budget=0.9)


@pytest.mark.parametrize(
    ('said', 'reason'),
    [
        ({'costs': [float('nan'), 0.5, 1.0]}, 'rising from 0'),
        ({'costs': [-1.0, 0.5, 1.0]}, 'rising from 0'),
        ({'costs': [0.8, 0.5, 1.0]}, 'rising from 0'),
        ({'costs': [0.5, float('inf'), 1.0]}, 'rising from 0'),
        ({'costs': ['a', 'b', 'c']}, 'describes no PrefixExits'),
        ({'frames': 0}, 'expected some'),
        ({'depth': 10**9}, 'has 1000000000 or more'),
    ],
)
def test_exits_that_say_what_cannot_be_are_refused(copied, said, reason):
    folder = with_exits(copied('smolvla'), said=said)
    with pytest.raises(CheckpointError, match=reason):
        loaded(folder, depth_method='early_exit', depth_budget=0.9)


@pytest.mark.parametrize('method', ['early_exit', 'mole'])
def test_a_policy_without_the_module_says_how_to_train_it(copied, method):
    with pytest.raises(CheckpointError, match=f'efficient-vla train --method {method}'):
        loaded(copied('smolvla'), depth_method=method)


def test_an_engine_is_cut_between_layers_that_may_not_run(copied):
    pytest.importorskip('openvino')
    folder = with_exits(copied('smolvla'), spread=0.5)
    policy, plain = leaving(folder, 0, reasoner_engine='openvino'), leaving(folder, 0)
    for one in (policy, plain):
        acted(one, 'smolvla')
    for found, expected in zip(policy._plan.cache.keys, plain._plan.cache.keys, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize('name', ['smolvla', 'pi05'])
def test_identity_a_router_that_picks_all_layers_is_dense(copied, name):
    folder = copied(name)
    folder = with_router(folder, [0.0] * sizes(folder)[0])
    policy, dense = loaded(folder, depth_method='mole'), loaded(folder)
    for one in (policy, dense):
        acted(one, name)
    same(policy._plan.cache, dense._plan.cache)


@pytest.mark.parametrize(('scores', 'skipped'), [((0, 1, 2, 0), 1), ((0, 2, 1, 0), 2)])
def test_a_layer_that_is_not_picked_gives_keys_and_values_of_the_rows_that_pass(
    copied, scores, skipped
):
    folder = with_router(copied('smolvla'), [float(score) for score in scores])
    policy, cut = loaded(folder, depth_method='mole', depth_share=0.75), loaded(folder)
    trunk = cut.reasoner.trunk
    trunk.keep_layers(tuple(layer for layer in range(4) if layer != skipped))
    for one in (policy, cut):
        acted(one, 'smolvla')
    same(policy._plan.cache, cut._plan.cache)
    ran = ', '.join(str(layer) for layer in range(4) if layer != skipped)
    assert policy._plan.reason == f'mole ran layers {ran} of 4'


def test_updates_are_added_where_a_layer_is_left_out_and_else_not(copied):
    folder = copied('smolvla')
    torch.manual_seed(1)
    policy = loaded(folder)
    weight = policy.reasoner.trunk.decoder.layers[0].leave.down_proj.weight
    halves = {'down': torch.randn(2, weight.shape[1]), 'up': torch.randn(weight.shape[0], 2)}
    updates = {f'lora.layers.0.leave.down_proj.{half}': t for half, t in halves.items()}
    with_router(folder, [0.0] * 4, updates)
    for share, factor in ((0.75, 1.0), (1.0, 0.0)):
        own = loaded(folder, depth_method='mole', depth_share=share).reasoner.trunk.decoder
        found = own.layers[0].leave.down_proj.weight - weight
        up, down = (halves[half].half().float() for half in ('up', 'down'))
        torch.testing.assert_close(found, factor * (up @ down), atol=1e-4, rtol=0)


@pytest.mark.parametrize(('name', 'said'), [('pi0', '3 cameras'), ('pi05', 'among the words')])
def test_depth_of_policies_that_training_cannot_show_frames_is_not_trained(copied, name, said):
    with pytest.raises(UsageError, match=said):
        PrefixFrozen(copied(name), torch.device('cpu'), 'metaworld')
