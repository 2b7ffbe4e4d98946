# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""SP-VLA keeps contours and as much saliency as the speed allows."""

import math

import pytest

from efficient_vla.reasoning.pruning import budget, sp_vla

SALIENCY = [0.05, 0.30, 0.10, 0.25, 0.20, 0.10]
SETTINGS = {
    'sp_vla.full_speed': 0.5,
    'sp_vla.threshold': 0.5,
    'sp_vla.span': 0.8,
    'min_tokens': 1,
}


def keep(view):
    return budget.choose(sp_vla.score(view), view).tolist()


@pytest.mark.parametrize(
    ('speed', 'expected'),
    [(0.0, 1.0), (0.24, 1.0), (0.25, 1.0), (0.375, 0.6), (0.5, 0.2), (9.0, 0.2), (math.nan, 1.0)],
)
def test_the_mass_falls_linearly_above_the_threshold(make_view, speed, expected):
    view = make_view(5, speed=speed, settings=SETTINGS)
    assert sp_vla.threshold(view) == pytest.approx(expected)


def test_the_nucleus_is_the_fewest_tokens_that_reach_the_mass(make_view):
    # Mass 0.6: 0.30, 0.55, 0.75 after 1, 3 and 4; the budget of 5 is not used up.
    view = make_view(5, saliency=SALIENCY, speed=0.375, settings=SETTINGS)
    assert keep(view) == [1, 3, 4]


def test_edges_stay_beside_the_budget_and_do_not_change_the_nucleus(make_view):
    # Mass 0.6 is reached by 1, 3 and 4, of which the budget of 2 lets in 1 and 3.
    edges = [True, False, False, True, False, True]
    settings = SETTINGS | {'protect.beyond': True}
    view = make_view(2, saliency=SALIENCY, protected=edges, speed=0.375, settings=settings)
    assert keep(view) == [0, 1, 3, 5]


@pytest.mark.parametrize('speed', [0.1, math.nan])
def test_a_slow_or_unknown_speed_leaves_out_nothing_but_for_the_budget(make_view, speed):
    view = make_view(5, saliency=SALIENCY, speed=speed, settings=SETTINGS)
    assert keep(view) == [1, 2, 3, 4, 5]
    assert sp_vla.score(view).isfinite().all()


def test_two_cameras_that_each_sum_to_one_share_one_nucleus(make_view):
    # Without scaling, 0.55 + 0.25 of the first camera alone would already reach 0.6.
    saliency = [0.55, 0.25, 0.2, 0.5, 0.3, 0.2]
    view = make_view(5, (1, 3), 2, saliency=saliency, speed=0.375, settings=SETTINGS)
    assert keep(view) == [0, 3, 4]
