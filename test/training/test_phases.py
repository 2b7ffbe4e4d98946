# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Phases of demonstrations, on hand-made episodes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from efficient_vla.sim.metaworld.tasks import TASKS
from efficient_vla.training.phases import PHASES, annotate, movement_of, vocabulary


def episode(task: str, hands: list, objects: list, goal: list) -> SimpleNamespace:
    labels = np.array([[*h, *o, *goal] for h, o in zip(hands, objects, strict=True)], np.float32)

    class Data(SimpleNamespace):
        def __len__(self):
            return len(labels)

    return Data(
        labels=torch.from_numpy(labels),
        chunk=torch.zeros(len(labels), 5, 4),
        first=np.zeros(len(labels), int),
        task=np.full(len(labels), TASKS.index(task)),
    )


HANDS = [[0, 0, 0.1 * i] for i in range(5)]


def test_the_second_phase_begins_where_the_object_moves():
    still, moved, end = [0.5, 0, 0], [0.52, 0, 0], [0.6, 0, 0]
    told = annotate(episode('drawer-open-v3', HANDS, [still, still, still, moved, end], end))
    before, after = PHASES['drawer-open-v3']
    assert told.subtask == [before] * 3 + [after] * 2
    np.testing.assert_allclose(told.subgoal[:3], [HANDS[3]] * 3, rtol=1e-6)
    np.testing.assert_allclose(told.subgoal[3:], [HANDS[4]] * 2, rtol=1e-6)


def test_an_episode_that_fails_has_no_last_waypoint():
    still, moved = [0.5, 0, 0], [0.52, 0, 0]
    told = annotate(episode('push-v3', HANDS, [still, still, still, moved, moved], [0.9, 0, 0]))
    assert np.isfinite(told.subgoal[:3]).all()
    assert np.isnan(told.subgoal[3:]).all()


def test_reaching_has_one_phase_that_ends_at_the_last_hand():
    told = annotate(episode('reach-v3', HANDS, [[9, 9, 9]] * 5, HANDS[4]))
    assert set(told.subtask) == {'reach the goal'}
    np.testing.assert_allclose(told.subgoal, [HANDS[4]] * 5, rtol=1e-6)


@pytest.mark.parametrize(
    ('moved', 'effort', 'words'),
    [
        ((-0.1, 0.0, -0.05), 1.0, 'move left and down with closed gripper'),
        ((0.1, 0.03, 0.0), -1.0, 'move right with open gripper'),
        ((0.0, 0.01, 0.0), -1.0, 'hold still with open gripper'),
        ((0.05, -0.05, 0.05), 1.0, 'move right and back and up with closed gripper'),
    ],
)
def test_movement_is_told_along_the_axes_that_count(moved, effort, words):
    chunk = np.zeros((10, 4), np.float32)
    chunk[:, :3] = np.array(moved) / 10
    chunk[:, 3] = effort
    assert movement_of(chunk) == words
    assert set(words.split()) <= set(vocabulary())
