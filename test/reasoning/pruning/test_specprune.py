# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""SpecPrune-VLA joins memory, change and present attention, then averages over layers."""

import math

import pytest
import torch

from efficient_vla.reasoning.pruning import budget, specprune
from efficient_vla.reasoning.settings import PruningSettings

NAN = math.nan
SHARES = {
    'specprune.remembered': 0.17,
    'specprune.dynamic': 0.17,
    'specprune.coarse': 0.17,
    'specprune.fine': 0.34,
    'specprune.alpha': 1.0,
    'min_tokens': 1,
}
ATTENTION = [[0.05, 0.20, 0.01, 0.02, 0.10, 0.03]]
MEMORY = [0.9, 0.1, 0.2, 0.3, 0.0, 0.4]
STILL = [1.0] * 6
COARSE = {'speed': 0.4, 'vertical': 0.0}


def keep(view):
    return budget.choose(specprune.score(view), view).tolist()


def seen(make_view, count=6 - 1, attention=ATTENTION, similarity=STILL, remembered=MEMORY, **other):
    fields = {**COARSE, **other}
    settings = SHARES | fields.pop('settings', {})
    return make_view(
        count,
        attention=attention,
        remembered=remembered,
        similarity=similarity,
        settings=settings,
        **fields,
    )


def test_one_each_by_memory_change_and_present_attention(make_view):
    assert keep(seen(make_view, similarity=[1.0, 0.99, 0.5, 0.97, 1.0, 1.0])) == [0, 1, 2]


def test_the_union_is_not_filled_up_to_the_budget(make_view):
    # 0 leads in memory and changed most; nothing takes its second place.
    assert keep(seen(make_view, similarity=[0.1, 0.99, 0.5, 0.97, 1.0, 1.0])) == [0, 1]
    assert keep(seen(make_view, similarity=[1.0, 1.0, 0.99, 1.0, 1.0, 1.0])) == [0, 1]


def test_each_remembered_layer_and_each_layer_before_the_drop_has_its_own_best(make_view):
    memory = [MEMORY, [0.0, 0.1, 0.2, 0.9, 0.3, 0.4]]  # 0 and 3
    attention = [[[0.1, 0.0, 0.0, 0.0, 0.0, 0.6]], ATTENTION]  # 5 and 1
    view = seen(make_view, attention=torch.tensor(attention), remembered=memory)
    assert keep(view) == [0, 1, 3, 5]


@pytest.mark.parametrize(
    ('speed', 'vertical', 'local'),
    [
        (0.31, -0.1, [1, 4]),
        (0.31, 0.0, [1, 4]),
        (0.31, 0.01, [1]),
        (0.33, -0.1, [1]),
        (NAN, NAN, [1, 4]),
    ],
)
def test_fine_work_looks_at_more_of_this_frame(make_view, speed, vertical, local):
    # Fine below 0.4 of 0.8 m/s, unless the arm rises; 0 is the memory's.
    assert keep(seen(make_view, speed=speed, vertical=vertical)) == [0, *local]


def test_alpha_scales_what_this_frame_adds(make_view):
    assert keep(seen(make_view, settings={'specprune.alpha': 2.0})) == [0, 1, 4]


@pytest.mark.parametrize(
    ('speed', 'plans'),
    [(0.0, 11), (0.25, 10), (0.26, 9), (0.5, 8), (1.0, 6), (1.375, 4), (9.0, 4), (NAN, 11)],
)
def test_the_interval_of_comparison_falls_with_the_speed(speed, plans):
    """floor(-16/3 v + 22/3) + 4: floors of 7.33, 6, 4.67, 2 and 0."""
    assert specprune.interval(speed) == plans


def test_the_budget_limits_the_union_memory_first(make_view):
    view = seen(make_view, 2, similarity=[1.0, 0.99, 0.5, 0.97, 1.0, 1.0])
    assert keep(view) == [0, 2]


def test_the_counts_of_the_paper_are_of_the_256_tokens_of_a_camera():
    shares = PruningSettings().specprune
    counts = (shares.remembered, shares.dynamic, shares.coarse, shares.fine)
    assert [256 * share for share in counts] == [30, 20, 24, 40]
    assert (shares.alpha, shares.unchanged, shares.later) == (0.8, 0.986, 0.1)


def test_an_unknown_memory_is_judged_by_present_attention(make_view):
    # 1 was dropped before; it leads now, so that it is further up than the second of the memory.
    # Taking unknown for zero would keep 0 and 5.
    memory = [0.9, NAN, 0.2, 0.3, 0.0, 0.4]
    settings = {'specprune.remembered': 1.0, 'specprune.dynamic': 0.0}
    view = seen(make_view, 2, remembered=memory, settings=settings)
    assert keep(view) == [0, 1]
    memory = [0.9, 0.3, NAN, 0.2, 0.0, 0.4]  # 2 is last now, 4 only of five
    view = seen(make_view, 5, remembered=memory, settings=settings)
    assert keep(view) == [0, 1, 3, 4, 5]


def test_a_token_never_seen_counts_as_changed(make_view):
    assert keep(seen(make_view, similarity=[1.0, 1.0, 0.2, NAN, 1.0, 1.0])) == [0, 1, 3]


def test_the_first_frame_goes_by_present_attention(make_view):
    view = seen(make_view, remembered=[NAN] * 6, similarity=[NAN] * 6)
    assert keep(view) == [1]  # leads in every set


def plain_value(attention):
    """Return rank weight times confidence of one layer, as the docstring has it."""
    total = len(attention[0])
    mean = [sum(row[i] for row in attention) / len(attention) for i in range(total)]
    order = sorted(range(total), key=lambda i: -mean[i])
    weight = [1 / (1 + math.exp(4.0 * rank / total)) for rank in range(total)]
    entropy = [-sum(a / sum(row) * math.log(a / sum(row)) for a in row) for row in attention]
    confidence = 1 / (sum(entropy) / len(entropy) + 1e-6)
    return {token: weight[order.index(token)] / sum(weight) * confidence for token in range(total)}


def test_later_visits_average_over_layers_by_visual_token(make_view):
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(2, 12, generator=generator)
    view = make_view(
        6,
        (3, 4),
        attention=first,
        remembered=torch.rand(12, generator=generator),
        similarity=torch.ones(12),
        settings={'min_tokens': 1, 'specprune.alpha': 2.0},
    )
    remaining = budget.choose(specprune.score(view), view)
    average = plain_value(first.tolist())
    for visit, count in ((1, 5), (2, 3)):
        attention = torch.rand(2, len(remaining), generator=generator) * 0.5
        value = plain_value(attention.tolist())
        for place, token in enumerate(remaining.tolist()):
            average[token] = 0.8 * average[token] + 0.2 * value[place]
        later = make_view(
            count,
            (1, len(remaining)),
            attention=attention,
            remaining=remaining,
            visit=visit,
            carry=view.carry,
            settings={'min_tokens': 1},
        )
        scores = specprune.score(later)
        expected = [average[token] for token in remaining.tolist()]
        assert scores.tolist() == pytest.approx(expected, rel=1e-4)
        best = sorted(remaining.tolist(), key=lambda token: -average[token])[:count]
        remaining = remaining[budget.choose(scores, later)]
        assert remaining.tolist() == sorted(best)


def test_a_layer_that_is_sure_weighs_more(make_view):
    def value(attention):
        view = make_view(
            3, attention=attention, remembered=[NAN] * 6, similarity=STILL, settings=SHARES
        )
        specprune.score(view)
        return view.carry['specprune']

    sure = value([[0.9, 0.02, 0.02, 0.02, 0.02, 0.02]])
    spread = value([[0.17, 0.166, 0.166, 0.166, 0.166, 0.166]])
    assert (sure > spread).all()
