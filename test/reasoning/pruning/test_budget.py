# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The budget decides once, for all methods, how many and which tokens stay."""

import math

import pytest
import torch

from efficient_vla.reasoning.pruning.budget import budget, choose, farthest_points, in_turn, quotas

OUT = -math.inf
SIX = [0.1, 0.4, 0.05, 0.3, 0.15, 0.0]


def keep(view, scores):
    return choose(torch.tensor(scores), view).tolist()


def marked(total, *places):
    mask = torch.zeros(total, dtype=torch.bool)
    mask[list(places)] = True
    return mask


@pytest.mark.parametrize(
    ('total', 'share', 'least', 'expected'),
    [(144, 0.5, 8, 72), (144, 1.0, 8, 144), (144, 0.01, 8, 8), (6, 0.5, 8, 6), (10, 0.26, 1, 3)],
)
def test_the_budget_is_a_share_with_a_floor(total, share, least, expected):
    assert budget(total, share, least) == expected


def test_the_highest_scores_stay_in_the_order_of_the_tokens(make_view):
    assert keep(make_view(3, settings={'min_tokens': 1}), SIX) == [1, 3, 4]


def test_equal_scores_go_by_index(make_view):
    assert keep(make_view(3, settings={'min_tokens': 1}), [1.0] * 6) == [0, 1, 2]


def test_identity_a_full_budget_keeps_even_what_a_method_leaves_out(make_view):
    assert keep(make_view(6), [OUT] * 6) == [0, 1, 2, 3, 4, 5]


def test_a_method_may_leave_tokens_out_though_there_is_room(make_view):
    scores = [OUT, 0.4, OUT, 0.3, OUT, OUT]
    assert keep(make_view(4, settings={'min_tokens': 1}), scores) == [1, 3]


def test_the_floor_is_filled_to_the_floor_with_farthest_points(make_view):
    # 3 x 4: 5 stays by score; 3 and 11 are farthest (5 each), and 11 is still 4 from 3.
    scores = [OUT] * 12
    scores[5] = 1.0
    view = make_view(9, (3, 4), settings={'min_tokens': 3})
    assert keep(view, scores) == [3, 5, 11]


def test_not_a_number_is_never_among_the_best(make_view):
    scores = [math.nan, 0.4, 0.2, math.nan, 0.3, 0.1]
    assert keep(make_view(3, settings={'min_tokens': 1}), scores) == [1, 2, 4]


def test_protected_tokens_stay_whatever_their_score(make_view):
    view = make_view(3, protected=marked(6, 5), settings={'min_tokens': 1})
    assert keep(view, SIX) == [1, 3, 5]
    assert keep(view, [0.1, 0.4, 0.05, 0.3, 0.15, OUT]) == [1, 3, 5]


def test_protected_tokens_get_half_of_the_budget_the_best_of_them_first(make_view):
    view = make_view(4, protected=marked(6, 0, 2, 4, 5), settings={'min_tokens': 1})
    assert keep(view, SIX) == [0, 1, 3, 4]


def test_protected_tokens_beyond_their_half_may_win_by_score(make_view):
    view = make_view(4, protected=marked(6, 1, 3, 4, 5), settings={'min_tokens': 1})
    assert keep(view, SIX) == [0, 1, 3, 4]


def counts(view):
    return {int(view.camera[mine][0]): count for mine, count in quotas(view)}


@pytest.mark.parametrize(
    ('count', 'weights', 'expected'),
    [
        (10, (0.4, 0.6), {0: 4, 1: 6}),
        (3, (1.0, 1.0), {0: 2, 1: 1}),  # rounding both up would give 4
        (5, (1.0, 1.0), {0: 2, 1: 3}),
        (20, (0.9, 0.1), {0: 12, 1: 8}),  # 18 do not fit into 12
        (20, (0.1, 0.9), {0: 8, 1: 12}),
    ],
)
def test_quotas_follow_the_weights_and_add_up_to_the_budget(make_view, count, weights, expected):
    view = make_view(count, (3, 4), 2, settings={'camera_weights': weights})
    assert counts(view) == expected


def test_the_last_weight_is_for_all_further_cameras(make_view):
    view = make_view(10, (3, 4), 3, settings={'camera_weights': (0.5, 0.25)})
    assert counts(view) == {0: 5, 1: 2, 2: 3}


def test_without_weights_all_cameras_compete_in_one_pool(make_view):
    view = make_view(3, (1, 3), 2, settings={'min_tokens': 1})
    assert keep(view, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == [3, 4, 5]


def test_with_weights_each_camera_keeps_its_best(make_view):
    settings = {'min_tokens': 1, 'camera_weights': (1.0, 2.0)}
    view = make_view(3, (1, 3), 2, settings=settings)
    assert keep(view, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == [2, 4, 5]
    view.protected = marked(6, 0, 3)
    assert keep(view, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == [0, 3, 5]


def test_a_share_of_the_budget_covers_the_grid(make_view):
    # 4 x 4, 0, 1 and 4 by score: 15 is farthest, then 3 and 12, as far, of which 3 is first.
    scores = [0.9, 0.8, 0.5, 0.4, 0.7] + [0.1] * 11
    settings = {'min_tokens': 1, 'protect.coverage': 0.4}
    assert keep(make_view(5, (4, 4), settings=settings), scores) == [0, 1, 3, 4, 15]


def test_coverage_sees_every_camera_and_takes_what_a_method_leaves_out(make_view):
    settings = {'min_tokens': 1, 'protect.coverage': 0.5}
    view = make_view(4, (3, 3), 2, settings=settings)
    scores = [0.9, 0.8, 0.7] + [OUT] * 15
    # The middle of the unseen camera comes first, then the corner of the first farthest from 0, 1.
    assert keep(view, scores) == [0, 1, 8, 13]


def test_coverage_keeps_to_the_quotas(make_view):
    settings = {'min_tokens': 1, 'protect.coverage': 0.5, 'camera_weights': (1.0, 1.0)}
    view = make_view(4, (3, 3), 2, settings=settings)
    scores = [0.9] + [0.0] * 8 + [0.9] + [0.0] * 8
    assert keep(view, scores) == [0, 8, 9, 17]


def test_full_coverage_leaves_room_for_the_protected(make_view):
    settings = {'min_tokens': 1, 'protect.coverage': 1.0}
    view = make_view(3, (3, 3), protected=marked(9, 0), settings=settings)
    assert keep(view, [0.0, 1.0] + [0.0] * 7) == [0, 2, 8]  # 2 and 6 are as far: the first


def plain_farthest(view, taken, free, count):
    """Return the definition, by comparing all pairs."""
    place = list(zip(view.camera.tolist(), view.row.tolist(), view.column.tolist(), strict=True))
    seen = [place[i] for i in range(len(place)) if taken[i]]
    left = [i for i in range(len(place)) if free[i]]
    added: list[int] = []
    while left and len(added) < count:

        def gap(token):
            camera, row, column = place[token]
            same = [(row - r) ** 2 + (column - k) ** 2 for c, r, k in seen if c == camera]
            return min(same, default=math.inf)

        best = max(left, key=lambda token: (gap(token), -token))
        if math.isinf(gap(best)):
            rows, columns = view.grid
            mine = [token for token in left if place[token][0] == place[best][0]]
            best = min(
                mine,
                key=lambda token: (
                    (place[token][1] - (rows - 1) / 2) ** 2
                    + (place[token][2] - (columns - 1) / 2) ** 2,
                    token,
                ),
            )
        added.append(best)
        left.remove(best)
        seen.append(place[best])
    return added


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize(('grid', 'cameras'), [((4, 5), 1), ((3, 7), 2), ((1, 9), 3)])
def test_farthest_points_are_those_of_the_definition(make_view, grid, cameras, seed):
    generator = torch.Generator().manual_seed(seed)
    view = make_view(1, grid, cameras)
    total = len(view.camera)
    taken = torch.rand(total, generator=generator) < 0.1 * seed
    free = ~taken & (torch.rand(total, generator=generator) < 0.8)
    expected = plain_farthest(view, taken, free, total - 3)
    assert farthest_points(view, taken, free, total - 3).tolist() == expected


def test_farthest_points_of_an_empty_set_begin_in_the_middle(make_view):
    view = make_view(1, (5, 5))
    added = farthest_points(view, marked(25), ~marked(25), 3)
    assert added.tolist() == [12, 0, 4]


def test_of_an_image_in_tiles_every_token_is_taken_once(make_view):
    # 4 x 4 of the tiles, then 2 x 2 of the whole, each at a place that a tile has too.
    view = make_view(1, (4, 4))
    whole = torch.tensor([[1, 1], [1, 3], [3, 1], [3, 3]])
    view.camera = torch.zeros(20, dtype=torch.long)
    view.row = torch.cat([view.row, whole[:, 0]])
    view.column = torch.cat([view.column, whole[:, 1]])
    added = farthest_points(view, marked(20), ~marked(20), 20).tolist()
    assert sorted(added) == list(range(20))
    assert added[:2] == [5, 16]


def test_farthest_points_know_tokens_that_were_dropped_before(make_view):
    # Only the lower row of 2 x 4 is left: places in the grid are not indices.
    view = make_view(1, (2, 4))
    view.camera, view.row, view.column = (part[4:] for part in (view.camera, view.row, view.column))
    assert farthest_points(view, marked(4, 0), ~marked(4, 0), 2).tolist() == [3, 1]


def test_picks_take_their_turn_and_the_first_mention_counts():
    scores = in_turn(5, torch.tensor([3, 1]), torch.tensor([1, 4, 3, 0]))
    assert scores.argsort(descending=True).tolist()[:4] == [3, 1, 4, 0]
    assert scores[2] == -math.inf
