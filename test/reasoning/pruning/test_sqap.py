# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""SQAP-VLA keeps the top of the attention and covers the rest of the grid."""

from efficient_vla.reasoning.pruning import budget, sqap

CORNER = [[0.9, 0.8, 0.0, 0.0, 0.7, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
"""All attention in the upper left corner of a 4 x 4 grid: tokens 0, 1, 4 and 5."""


def keep(view):
    return budget.choose(sqap.score(view), view).tolist()


def plain(attention, count, top, protected=(), grid=(4, 4), size=16):
    """Return what the definition keeps, by comparing every pair of tokens."""

    def place(token):
        camera, inside = divmod(token, grid[0] * grid[1])
        return camera, inside // grid[1], inside % grid[1]

    def gap(a, b):
        (c, r, k), (d, s, m) = place(a), place(b)
        return float('inf') if c != d else (r - s) ** 2 + (k - m) ** 2

    order = sorted(range(size), key=lambda i: (-sum(row[i] for row in attention), i))
    chosen = set(protected) | set(order[: round(top * count)])
    while len(chosen) < count:
        free = [i for i in range(size) if i not in chosen]
        chosen.add(max(free, key=lambda i: (min(gap(i, j) for j in chosen), -i)))
    return sorted(chosen)


def test_half_goes_by_attention_and_half_to_the_farthest_points(make_view):
    view = make_view(6, (4, 4), attention=CORNER, settings={'min_tokens': 1})
    # 15 is farthest from 0, 1 and 4; then 3 and 12, 4 from 1 and 4.
    assert keep(view) == plain(CORNER, 6, 0.5) == [0, 1, 3, 4, 12, 15]


def test_protected_tokens_count_as_seen(make_view):
    # Seen from 10 as well, 12 (5) and 3 (4) are farthest; without it 15 would be.
    protected = [i == 10 for i in range(16)]
    view = make_view(5, (4, 4), attention=CORNER, protected=protected, settings={'min_tokens': 1})
    assert keep(view) == plain(CORNER, 5, 0.5, protected=[10]) == [0, 1, 3, 10, 12]


def test_protected_tokens_beyond_half_of_the_budget_do_not_hide_the_rest(make_view):
    # Eight protected tokens below, two may stay: the most attended to, then the first.
    attention = [list(CORNER[0])]
    attention[0][14] = 0.1
    protected = [i >= 8 for i in range(16)]
    view = make_view(
        4, (4, 4), attention=attention, protected=protected, settings={'min_tokens': 1}
    )
    assert keep(view) == plain(attention, 4, 0.5, protected=[14, 8]) == [0, 1, 8, 14]


def test_equal_attention_goes_by_index(make_view):
    view = make_view(8, (4, 4), attention=[[0.5] * 16], settings={'min_tokens': 1})
    assert keep(view) == plain([[0.5] * 16], 8, 0.5)


def test_a_camera_without_attention_is_covered_too(make_view):
    attention = [CORNER[0] + [0.0] * 16]
    settings = {'min_tokens': 1, 'sqap.top': 0.5}
    view = make_view(8, (4, 4), 2, attention=attention, settings=settings)
    # The second camera is farthest of all: its middle first (of four the first, 16 + 5). Then 15
    # (8 from 5) and 31 (8 from 21), then 19 (5 from 21).
    assert keep(view) == [0, 1, 4, 5, 15, 19, 21, 31]


def test_all_attention_leaves_no_cover_and_none_leaves_only_cover(make_view):
    settings = {'min_tokens': 1, 'sqap.top': 1.0}
    view = make_view(4, (4, 4), attention=CORNER, settings=settings)
    assert keep(view) == [0, 1, 4, 5]
    view = make_view(5, (4, 4), attention=CORNER, settings=settings | {'sqap.top': 0.0})
    assert keep(view) == [0, 3, 5, 12, 15]  # the middle, then by distance from it
