# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Words and subgoal beside a plan: decoded right, decided seldom, forgotten in time."""

import dataclasses

import numpy as np
import pytest
import torch

from efficient_vla.reasoning.ecot.cache import Ecot
from efficient_vla.reasoning.ecot.thinker import MAX_WORDS, PARTS, Thinker
from efficient_vla.reasoning.settings import EcotSettings
from efficient_vla.settings import build

BOTH = {'method': 'both', 'subtask_age': 2.0, 'movement_age': 1.0, 'subgoal_age': 0.5}


@pytest.fixture
def thinker():
    torch.manual_seed(0)
    return Thinker(2, 4, ['go', 'left', 'right'], hidden=8).eval()


class Counting(Thinker):
    """Counts what it is asked for."""

    def __init__(self):
        super().__init__(2, 4, ['go'], hidden=4)
        self.asked = []

    def say(self, latents, parts):
        self.asked += parts
        return [f'{part} {len(self.asked)}' for part in parts]

    def subgoal(self, latents):
        self.asked.append('subgoal')
        return torch.full((1, 3), float(len(self.asked)))


def settings(**changes):
    return build(EcotSettings, {**BOTH, 'change': 0.1, 'max_rate': 10.0, **changes})


ONE = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
OTHER = ONE.roll(1)


@torch.inference_mode()
def test_words_are_the_likeliest_ones_of_the_teacher_forced_pass(thinker):
    torch.nn.init.normal_(thinker.speak.weight, std=3.0)
    for seed in range(20):
        latents = torch.randn(2, 4, generator=torch.Generator().manual_seed(seed))
        for number, part in enumerate(PARTS):
            (phrase,) = thinker.say(latents, [part])
            said = thinker.ids(phrase)[:MAX_WORDS]
            logits = thinker.logits(latents[None], torch.tensor([number]), torch.tensor([said]))
            assert logits[0].argmax(-1).tolist() == said


@torch.inference_mode()
def test_parts_said_together_are_those_said_alone(thinker):
    torch.nn.init.normal_(thinker.speak.weight, std=3.0)
    latents = torch.randn(2, 4)
    together = thinker.say(latents, list(PARTS))
    assert together == [thinker.say(latents, [part])[0] for part in PARTS]


@torch.inference_mode()
def test_subgoal_lies_between_the_fitted_bounds_by_share(thinker):
    torch.nn.init.zeros_(thinker.goal[-1].weight)
    with torch.no_grad():
        thinker.goal[-1].bias.copy_(torch.tensor([0.0, 0.5, 1.0]))
        thinker.low.copy_(torch.tensor([-1.0, 0.0, 0.2]))
        thinker.high.copy_(torch.tensor([1.0, 2.0, 0.6]))
    assert thinker.subgoal(torch.randn(1, 2, 4))[0].tolist() == pytest.approx([-1.0, 1.0, 0.6])


def test_each_part_is_decided_again_at_its_own_age():
    thinker = Counting()
    ecot, when = Ecot(thinker), {}
    for tick in range(25):
        stamp = 0.125 * tick
        for part in ecot.think(ONE, 'go', stamp, settings()).decided:
            when.setdefault(part, []).append(tick)
    assert when == {'subtask': [0, 17], 'movement': [0, 9, 18], 'subgoal': [0, 5, 10, 15, 20]}


def test_ages_are_those_of_the_oldest_phrase_and_of_the_subgoal():
    ecot = Ecot(Counting())
    ecot.think(ONE, 'go', 10.0, settings())
    thought = ecot.think(ONE, 'go', 11.25, settings())
    assert thought.decided == ('movement', 'subgoal')
    assert thought.text_age == pytest.approx(1.25)
    assert thought.subgoal_age == 0.0
    assert thought.text == 'subtask 2; movement 4'


def test_a_change_of_the_plan_is_answered_at_the_highest_rate():
    ecot, quick = Ecot(Counting()), settings(max_rate=2.0, subgoal_age=5.0)
    ecot.think(ONE, 'go', 0.0, quick)
    assert ecot.think(OTHER, 'go', 0.4, quick).decided == ()
    assert ecot.think(OTHER, 'go', 0.5, quick).decided == ('subtask', 'movement', 'subgoal')
    assert ecot.think(OTHER, 'go', 1.2, quick).decided == ()


def test_another_instruction_and_a_clock_that_went_back_decide_everything_anew():
    ecot = Ecot(Counting())
    everything = ('subtask', 'movement', 'subgoal')
    ecot.think(ONE, 'go', 5.0, settings())
    assert ecot.think(ONE, 'stay', 5.1, settings()).decided == everything
    assert ecot.think(ONE, 'stay', 1.0, settings()).decided == everything
    ecot.reset()
    assert ecot.think(ONE, 'stay', 1.1, settings()).decided == everything


def test_only_what_the_method_names_is_decided():
    thinker = Counting()
    thought = Ecot(thinker).think(ONE, 'go', 0.0, settings(method='subgoal'))
    assert thinker.asked == ['subgoal']
    assert thought.text == ''
    np.testing.assert_array_equal(thought.subgoal, [1, 1, 1])
    assert dataclasses.replace(settings(), method='text').parts == PARTS
