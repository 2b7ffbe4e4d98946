# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""SpecPrune-VLA joins memory, change and present attention, then averages over layers."""

import math

import pytest
import torch

from efficient_vla.reasoning.pruning import budget, specprune

NAN = math.nan
SHARES = {'specprune.remembered': 0.34, 'specprune.dynamic': 0.34, 'min_tokens': 1}
ATTENTION = [[0.05, 0.20, 0.01, 0.02, 0.10, 0.03]]
MEMORY = [0.9, 0.1, 0.2, 0.3, 0.0, 0.4]
STILL = [1.0] * 6


def keep(view):
    return budget.choose(specprune.score(view), view).tolist()


def kept_where(make_view, similarity):
    """Return which three of the six are kept where the features changed so much."""
    return keep(
        make_view(3, attention=ATTENTION, remembered=MEMORY, similarity=similarity, settings=SHARES)
    )


def test_a_third_each_by_memory_change_and_present_attention(make_view):
    similarity = [1.0, 0.99, 0.5, 0.97, 1.0, 1.0]
    assert kept_where(make_view, similarity) == [0, 1, 2]


def test_where_sets_overlap_present_attention_fills_the_room(make_view):
    # 0 leads in memory and changed most: 2 places are left for the attention.
    similarity = [0.1, 0.99, 0.5, 0.97, 1.0, 1.0]
    assert kept_where(make_view, similarity) == [0, 1, 4]


def test_a_still_scene_has_no_changed_tokens(make_view):
    similarity = [1.0, 1.0, 0.99, 1.0, 1.0, 1.0]
    assert kept_where(make_view, similarity) == [0, 1, 4]


def test_an_unknown_memory_is_judged_by_present_attention(make_view):
    # 1 was dropped before; it leads now, so that it is further up than the second of the memory.
    # Taking unknown for zero would keep 0 and 5.
    memory = [0.9, NAN, 0.2, 0.3, 0.0, 0.4]
    settings = SHARES | {'specprune.remembered': 1.0, 'specprune.dynamic': 0.0}
    view = make_view(2, attention=ATTENTION, remembered=memory, similarity=STILL, settings=settings)
    assert keep(view) == [0, 1]
    memory = [0.9, 0.3, NAN, 0.2, 0.0, 0.4]  # 2 is last now, 4 only of five
    view = make_view(5, attention=ATTENTION, remembered=memory, similarity=STILL, settings=settings)
    assert keep(view) == [0, 1, 3, 4, 5]


def test_a_token_never_seen_counts_as_changed(make_view):
    similarity = [1.0, 1.0, 0.2, NAN, 1.0, 1.0]
    assert kept_where(make_view, similarity) == [0, 1, 3]


def test_the_first_frame_goes_by_present_attention(make_view):
    view = make_view(
        3, attention=ATTENTION, remembered=[NAN] * 6, similarity=[NAN] * 6, settings=SHARES
    )
    assert keep(view) == [0, 1, 4]


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
        settings={'min_tokens': 1},
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
