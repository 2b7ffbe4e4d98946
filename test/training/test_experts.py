# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Experts label what they would do, and leave the simulation as it was."""

import numpy as np
import pytest

from efficient_vla.sim.metaworld.experts import ScriptedExpert, privileged
from efficient_vla.sim.metaworld.scene import MetaWorldSim, UnknownTaskError


@pytest.fixture(scope='module')
def sim():
    sim = MetaWorldSim('drawer-open-v3', 'fast', 96)
    yield sim
    sim.close()


def test_a_rollout_predicts_what_the_expert_then_does(sim):
    sim.reset(100_000)
    expert = ScriptedExpert('drawer-open-v3', 0.6)
    for _ in range(30):
        sim.step_action(expert.action(sim))
    chunk = expert.rollout(sim, 12)
    for row in chunk:
        before = sim.setpoint()
        action = expert.action(sim)
        sim.step_action(action)
        assert sim.setpoint() - before == pytest.approx(row[:3], abs=1e-6)
        assert action[3] == pytest.approx(row[3])


def test_a_rollout_changes_nothing(sim):
    sim.reset(100_001)
    before = sim.setpoint(), sim.state(), sim.env.data.qpos.copy(), sim.steps, privileged(sim)
    ScriptedExpert('drawer-open-v3', 0.6).rollout(sim, 40)
    after = sim.setpoint(), sim.state(), sim.env.data.qpos.copy(), sim.steps, privileged(sim)
    for left, right in zip(before, after, strict=True):
        assert np.array_equal(left, right)


def test_the_same_seed_is_the_same_episode(sim):
    pictures = []
    for seed in (1000, 1001, 1000):
        sim.reset(seed)
        pictures.append(sim.render().astype(int))
    assert np.abs(pictures[0] - pictures[2]).max() <= 1
    assert np.abs(pictures[0] - pictures[1]).max() > 10


def test_the_first_image_of_an_episode_shows_its_own_goal():
    sim = MetaWorldSim('reach-v3', 'fast', 96)
    sim.reset(1000)
    first = sim.render().astype(int)
    sim.reset(1001)
    sim.reset(1000)
    assert np.abs(sim.render() - first).max() <= 1
    sim.close()


def test_an_expert_succeeds_through_absolute_set_points(sim):
    sim.reset(1000)
    expert = ScriptedExpert('drawer-open-v3', 0.6)
    while not sim.done:
        action = expert.action(sim)
        sim.step(np.append(sim.setpoint() + action[:3] * sim.MAX_DELTA, action[3]))
    assert sim.success


def test_a_set_point_far_away_is_approached_at_the_arms_speed(sim):
    sim.reset(1000)
    before = sim.setpoint()
    sim.step(np.append(before + [0.5, 0.0, 0.0], 0.0))
    assert sim.setpoint() - before == pytest.approx([sim.MAX_DELTA, 0.0, 0.0], abs=1e-9)


def test_an_unknown_task_is_named():
    with pytest.raises(UnknownTaskError, match='juggle'):
        MetaWorldSim('juggle-v3')
