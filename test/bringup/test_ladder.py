# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The degradation ladder goes down step by step, stays, and climbs back; by a clock of the test."""

import math

import pytest

from efficient_vla.bringup.ladder import (
    HOLD,
    Ladder,
    LadderRules,
    Rule,
    Step,
    ladder_file,
    read_ladder,
)
from efficient_vla.settings import InvalidSettingError

SLOW = Rule('slow', 'chunk_share', 0.8, 0.5, 2.0, 10.0, ('tokens', 'passes'))
SCARCE = Rule('scarce', 'memory_free', 0.05, 0.1, 1.0, 5.0, ('tokens', HOLD))
STEPS = {
    'tokens': Step('reasoner', ('pruning.keep',), 0.5, 0.1),
    'passes': Step('actor', ('flow.steps',), 0.5, 1),
}


def ladder(*rules):
    return Ladder(LadderRules(rules, STEPS))


def levels(found, times, **measures):
    """Return how many steps hold at each time."""
    return [len(found.update(measures, time)) for time in times]


def test_a_step_is_taken_after_each_time_that_a_measure_was_bad():
    found = ladder(SLOW)
    assert levels(found, (0.0, 1.9, 2.0, 2.25, 4.2, 4.3), chunk_share=0.9) == [0, 0, 1, 1, 1, 2]
    assert found.update({'chunk_share': 0.9}, 60.0) == {'tokens': 'slow', 'passes': 'slow'}


def test_one_bad_value_among_good_ones_is_no_step():
    found = ladder(SLOW)
    for time in range(20):
        assert not found.update({'chunk_share': 0.9 if time % 2 else 0.4}, float(time))


def test_between_good_and_bad_nothing_changes():
    found = ladder(SLOW)
    levels(found, (0.0, 2.0), chunk_share=0.9)
    assert levels(found, (3.0, 30.0, 300.0), chunk_share=0.6) == [1, 1, 1]
    assert levels(found, (301.0, 302.9), chunk_share=0.9) == [1, 1]


def test_it_climbs_back_one_step_at_a_time_the_last_one_first():
    found = ladder(SLOW)
    levels(found, (0.0, 2.0, 3.0, 5.0), chunk_share=0.9)
    assert levels(found, (6.0, 15.9), chunk_share=0.4) == [2, 2]
    assert found.update({'chunk_share': 0.4}, 16.0) == {'tokens': 'slow'}
    assert levels(found, (16.1, 25.9, 26.0), chunk_share=0.4) == [1, 1, 0]
    assert found.calm


def test_a_measure_that_is_not_known_takes_no_step_and_gives_back():
    found = ladder(SLOW)
    assert levels(found, (0.0, 9.0), chunk_share=math.nan) == [0, 0]
    levels(found, (10.0, 12.0), chunk_share=0.9)
    assert levels(found, (13.0, 22.9, 23.0)) == [1, 1, 0]


def test_little_is_bad_where_worse_lies_below_better():
    found = ladder(SCARCE)
    assert levels(found, (0.0, 1.0), memory_free=0.04) == [0, 1]
    assert levels(found, (2.0, 9.0), memory_free=0.07) == [1, 1]
    assert levels(found, (10.0, 15.0), memory_free=0.2) == [1, 0]


def test_holding_is_the_last_step_and_rules_share_steps():
    found = ladder(SLOW, SCARCE)
    for time in (0.0, 1.0, 2.0, 3.0):
        held = found.update({'chunk_share': 0.9, 'memory_free': 0.01}, time)
    assert list(held) == ['tokens', HOLD]
    assert held == {'tokens': 'slow', HOLD: 'scarce'}


def test_a_step_that_changes_nothing_is_passed_over_at_once():
    found = ladder(SLOW)
    found.absent.add('tokens')
    assert levels(found, (0.0,), chunk_share=0.9) == [0]
    assert found.update({'chunk_share': 0.9}, 2.0) == {'passes': 'slow'}
    assert levels(found, (60.0,), chunk_share=0.9) == [1]


@pytest.mark.parametrize(
    ('step', 'value', 'lowered'),
    [
        ('tokens', 0.5, 0.25),
        ('tokens', 0.15, 0.1),
        ('tokens', 0.1, 0.1),
        ('tokens', 0.05, 0.05),
        ('passes', 10, 5),
        ('passes', 3, 1),
        ('passes', 1, 1),
    ],
)
def test_a_step_lowers_to_a_share_and_not_below_the_least(step, value, lowered):
    found = STEPS[step].lowered(value)
    assert found == lowered
    assert type(found) is type(value)


def test_the_shipped_ladder_is_whole_and_ends_in_holding():
    table = read_ladder(ladder_file(''))
    assert {rule.measure for rule in table.rules} == {
        'chunk_share',
        'plan_share',
        'round_trip',
        'memory_free',
        'gpu_faults',
        'camera_age',
    }
    for rule in table.rules:
        assert HOLD not in rule.steps[:-1]
        assert rule.bad(rule.worse) is False
    assert {step for rule in table.rules for step in rule.steps} - {HOLD} == set(table.steps)


GOOD = """
rules:
  slow: {measure: chunk_share, worse: 1, better: 0.5, after: 2, rest: 3, steps: [tokens, hold]}
steps:
  tokens: {parameters: [reasoner.pruning.keep], share: 0.5, least: 0.1}
"""


@pytest.mark.parametrize(
    ('before', 'after', 'said'),
    [
        ('chunk_share', 'luck', "rule slow measures 'luck'; expected one of chunk_share"),
        ('[tokens, hold]', '[sleep]', "rule slow has the steps ['sleep']"),
        ('rest: 3, ', '', 'expected after, better, measure, rest, steps, worse'),
        ('after: 2', 'after: soon', "slow.after is 'soon'; expected a number"),
        ('pruning.keep', 'pruning.kept', "step tokens names 'reasoner.pruning.kept'"),
        ('share: 0.5', 'share: 1.5', 'tokens.share is 1.5; expected above 0 and below 1'),
        ('steps:\n  tokens', 'stairs:\n  tokens', 'expected steps, each a name'),
        ('rules:', 'rules: [', 'cannot be read'),
    ],
)
def test_a_ladder_with_a_mistake_is_refused_in_one_sentence(tmp_path, before, after, said):
    path = tmp_path / 'ladder.yaml'
    path.write_text(GOOD)
    assert read_ladder(path).rules[0].steps == ('tokens', HOLD)
    assert before in GOOD
    path.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(InvalidSettingError, match='the ladder') as error:
        read_ladder(path)
    assert said in str(error.value)
