# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Exits and a router are trained for a policy of LeRobot, and drive it as in training."""

import argparse
import shutil

import numpy as np
import pytest
import torch

from efficient_vla.errors import UsageError
from efficient_vla.policy import Policy
from efficient_vla.training import methods
from efficient_vla.training.lerobot_dataset import DatasetLayout, DatasetWriter
from efficient_vla.training.prefix import PrefixTrainer
from package_files import ROOT

NAMES = ('x', 'y', 'z', 'gripper')
SENTENCES = 'open the drawer', 'press the button'
STATE = np.array([0.0, 0.6, 0.2, 1.0], np.float32)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('recorded') / 'data'
    random = np.random.default_rng(0)
    with DatasetWriter(
        folder, DatasetLayout(80, {'corner2': (128, 128)}, NAMES, NAMES, 'metaworld')
    ) as w:
        for sentence in SENTENCES:
            images = (
                random.integers(256, size=(9, 8, 8, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
            )
            state = STATE + random.normal(size=(9, 4)).astype(np.float32) / 20
            w.add_episode({'corner2': images}, state, np.zeros((9, 4), np.float32), sentence)
    return folder


@pytest.fixture
def policy(tmp_path):
    return shutil.copytree(ROOT / 'models/smolvla-metaworld', tmp_path / 'policy')


def trainer(method, policy, data, out, steps=0):
    made = argparse.Namespace(
        method=method, data=data, validation=None, out=out, steps=steps, frames=6, seed=0, rank=2,
        validation_frames=6, batch=4, device='cpu', precision='fp32', restart=False, threads=0,
        install=False,
    )  # fmt: skip
    return PrefixTrainer(made, policy)


def loaded(policy, **settings):
    return Policy.from_pretrained(policy, robot='metaworld', device='cpu', **settings)


def planned(stages, features, place):
    """Return the cache of a policy for what a frame of the features shows."""
    images = features.images[place]
    stages.act({'corner2': images}, features.said[place], features.robot[place], 0.0)
    return stages._plan.cache


@pytest.fixture
def drawn(data):
    """Return what shows the drawn frames to a policy."""

    def frames(features):
        from efficient_vla.training.recordings import Recordings

        read = Recordings(data, '', '', 128)
        sentences = read.said()
        return argparse.Namespace(
            images=read.image[features.frames].numpy(),
            robot=read.state[features.frames].numpy(),
            said=[sentences[task] for task in features.task],
        )

    return frames


def test_features_are_what_the_policy_itself_sees_and_makes(policy, data, tmp_path, drawn):
    features = trainer('early_exit', policy, data, tmp_path / 'out').features
    stages = loaded(policy)
    for place in (0, len(features) - 1):
        cache = planned(stages, drawn(features), place)
        (group,) = features.groups(np.array([place]))
        pairs, seen = features.frozen.dense(group.sequence)
        torch.testing.assert_close(seen[0], group.sequence.embeddings)
        for (keys, values), own, other in zip(pairs, cache.keys, cache.values, strict=True):
            torch.testing.assert_close(keys, own, atol=1e-4, rtol=0)
            torch.testing.assert_close(values, other, atol=1e-4, rtol=0)
        generator = stages.actor.generator
        given = argparse.Namespace(cache=cache, state=group.state, help=None, before=None)
        made = generator.sample(given, group.path[:, 0])
        torch.testing.assert_close(made.chunk, group.path[0, -1], atol=1e-3, rtol=0)


def test_exits_that_were_trained_leave_as_in_training(policy, data, tmp_path, drawn):
    made = trainer('early_exit', policy, data, tmp_path / 'out')
    before = made.recipe.group_losses(made.features.groups(np.arange(6))[0], 0, 0.0)
    made.run(30)
    after = made.recipe.group_losses(made.features.groups(np.arange(6))[0], 0, 0.0)
    assert after['rows'] < before['rows']
    assert after['action'] < before['action']
    made.write(policy)
    stages = loaded(policy, depth_method='early_exit', depth_budget=0.99)
    stages.reasoner._pilot._thresholds = [(1e9, 1e9)] * 99
    cache = planned(stages, drawn(made.features), 2)
    (group,) = made.features.groups(np.array([2]))
    pairs, seen = made.frozen.dense(group.sequence)
    _, above = made.recipe._above(0, seen[1], group)
    for (keys, _), own in zip(pairs[:2] + above, cache.keys, strict=True):
        torch.testing.assert_close(keys, own, atol=0.02, rtol=0)  # stored in float16
    costs = stages.reasoner._pilot._exits.costs
    assert 1 / 3 < costs[0] < 2 / 3 < costs[1] < 0.8 < 1.0 < costs[2] < 1.01


def test_a_router_that_was_trained_picks_as_in_training(policy, data, tmp_path, drawn):
    made = trainer('mole', policy, data, tmp_path / 'out')
    dense = [keys.clone() for keys, _ in made.frozen.dense(group_of(made).sequence)[0]]
    made.run(30)
    # The teacher is the policy without the updates.
    for own, keys in zip(made.frozen.dense(group_of(made).sequence)[0], dense, strict=True):
        assert torch.equal(own[0], keys)
    made.write(policy)
    stages = loaded(policy, depth_method='mole', depth_share=0.75)
    cache = planned(stages, drawn(made.features), 2)
    with torch.no_grad():
        pairs, chosen = made.recipe._walk(group_of(made), made.recipe._scores(group_of(made)))
    assert chosen.sum() == 3
    ran = ', '.join(str(layer) for layer in chosen[0].nonzero()[:, 0].tolist())
    assert stages._plan.reason == f'mole ran layers {ran} of 4'
    for (keys, _), own in zip(pairs, cache.keys, strict=True):
        torch.testing.assert_close(keys, own, atol=0.02, rtol=0)


def group_of(made):
    (group,) = made.features.groups(np.array([2]))
    return group


def test_a_gate_hands_a_layer_to_the_scores(policy, data, tmp_path):
    made = trainer('mole', policy, data, tmp_path / 'out')
    group = group_of(made)
    scores = torch.zeros(1, 4, requires_grad=True)
    pairs, _ = made.recipe._walk(group, scores)
    (gradient,) = torch.autograd.grad(pairs[-1][0].square().sum(), scores)
    assert gradient.abs().max() > 0


def test_what_cannot_be_trained_is_refused(policy, data, tmp_path):
    with pytest.raises(UsageError, match='is no LeRobotDataset'):
        trainer('early_exit', policy, tmp_path, tmp_path / 'out')
    with pytest.raises(UsageError, match='has no layers of a language model'):
        trainer('early_exit', ROOT / 'models/act-metaworld', data, tmp_path / 'out')
    assert methods._trainer('early_exit', policy) is PrefixTrainer
    assert methods._trainer('student', policy) is methods.MethodTrainer
