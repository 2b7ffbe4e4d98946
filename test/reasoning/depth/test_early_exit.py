# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A pass ends where two exits agree, as often as the budget asks for."""

import numpy as np
import pytest
import torch
from fixtures.small_decoder import QUERIES, TOKENS, WIDTH, decoder, tokens

from efficient_vla.reasoning.depth.early_exit import (
    ExitPilot,
    ExitRoute,
    Exits,
    exit_shares,
    quantiles,
)
from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.depth.static import shorten
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.stage import Reasoner
from efficient_vla.settings import InvalidSettingError, build

DEPTH = 4
COSTS = (0.3, 0.6, 1.1)


def exits(*changes):
    torch.manual_seed(1)
    made = Exits((1, 3), QUERIES, WIDTH, 4, len(changes) or 1, COSTS).requires_grad_(False)
    if changes:
        made.changes = torch.tensor(changes)
    return made


def judge(latents, state):
    return latents.flatten() if state is None else latents.flatten() * float(state[0])


def reasoner(own=None, made=None, state=None, **values):
    values = {'depth.method': 'early_exit'} | {n.replace('__', '.'): v for n, v in values.items()}
    chosen = build(ReasonerSettings, values)
    own, made = own or decoder(DEPTH), made or exits((0.5, 0.5), (1.5, 1.5))
    shorten(own, chosen.depth)
    pilot = ExitPilot(made, judge, own.parts.left)
    names = () if state is None else ('x', 'y', 'z')
    words = {'input_ids': [3, 4]}
    stage = Reasoner(own, lambda text: words, TOKENS, chosen, names, pilot=pilot)
    if state is not None:
        stage.observe(np.array(state, np.float32), 0.0)
    return stage


def ran(layers):
    """Count the layers that run."""
    seen = []
    for layer in layers:
        layer.register_forward_hook(lambda *_: seen.append(1))
    return seen


def test_shares_of_the_exits_rise_by_one_ratio_and_cost_the_budget():
    even = exit_shares((0.25, 0.5, 0.75), 0.5)
    assert even == pytest.approx([1 / 3] * 3, abs=1e-6)
    found = exit_shares((1.0, 2.0, 3.0), 17 / 7)  # shares 1/7, 2/7, 4/7: r = 2
    assert found == pytest.approx([1 / 7, 2 / 7, 4 / 7], abs=1e-6)
    assert exit_shares((0.25, 1.0), 1.0) == [0.0, 1.0]
    assert exit_shares((0.25, 1.0), 0.25) == pytest.approx([1.0, 0.0], abs=1e-6)


def test_thresholds_are_quantiles_of_the_frames_that_have_not_left():
    changes = torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])
    # A quarter leaves first: frame 0. Of the others the least changed half of all: frames 3 and 2.
    assert quantiles(changes, (0.25, 0.5)) == pytest.approx((0.1, 0.7))
    assert quantiles(changes, (0.0, 0.25)) == pytest.approx((-1.0, 0.6))
    assert quantiles(changes, (0.25, 0.75)) == pytest.approx((0.1, float('inf')))


def test_the_mean_cost_on_the_calibration_set_is_the_budget():
    made = exits(*torch.rand(400, 2, generator=torch.Generator().manual_seed(0)).tolist())
    for budget in (0.4, 0.7, 1.0):
        first, second = made.thresholds(min(budget, 0.999), (0, 1), True)
        left = made.changes[:, 0] <= first
        then = ~left & (made.changes[:, 1] <= second)
        costs = torch.full((400,), COSTS[2])
        costs[then], costs[left] = COSTS[1], COSTS[0]
        assert float(costs.mean()) == pytest.approx(min(budget, 0.999), rel=0.01)


def test_identity_with_the_whole_budget_no_pass_ends_early():
    own = decoder(DEPTH)
    seen = ran(own.decoder.layers)
    stage = reasoner(own, depth__budget=1.0)
    plan = stage.plan(tokens(), 'open it')
    assert len(seen) == DEPTH
    assert own.route.changes
    dense = Reasoner(decoder(DEPTH), lambda text: {'input_ids': [3, 4]}, TOKENS, ReasonerSettings())
    np.testing.assert_allclose(plan.latents, dense.plan(tokens(), 'open it').latents, atol=1e-5)
    assert 'early_exit after 4 of 4 layers' in plan.reason


def test_a_pass_ends_at_the_first_exit_whose_action_has_not_changed():
    made = exits()
    for thresholds, layers in (((9e9, 9e9), 1), ((-1.0, 9e9), 3), ((-1.0, -1.0), 4)):
        route = ExitRoute(made, thresholds, lambda latents: judge(latents, None), DEPTH)
        states = torch.randn(4, 1, 5, WIDTH, generator=torch.Generator().manual_seed(2))
        # With a first exit after layer 1 there is no layer before it to compare with.
        left = next((n for n in range(4) if route.leaves(n, states[n])), 3)
        assert left + 1 == max(layers, 3 if thresholds[1] > 0 else 4)
        assert (route.latents is None) == (left == 3)
    torch.testing.assert_close(
        route.changes[0], float((made(1, states[2]) - made(0, states[0])).norm())
    )


def test_the_first_exit_is_compared_with_what_it_makes_of_the_layer_before():
    made = Exits((2,), QUERIES, WIDTH, 4, 1, (0.5, 1.0)).requires_grad_(False)
    states = torch.randn(2, 1, 5, WIDTH, generator=torch.Generator().manual_seed(2))
    route = ExitRoute(made, (9e9,), lambda latents: judge(latents, None), DEPTH)
    assert not route.leaves(0, states[0])
    assert route.leaves(1, states[1])
    expected = float((made(0, states[1]) - made(0, states[0])).norm())
    assert route.changes == pytest.approx([expected])
    torch.testing.assert_close(route.latents, made(0, states[1]))


def test_an_exit_reads_the_queries_alone():
    made, states = exits(), torch.randn(1, 6, WIDTH)
    other = states.clone()
    other[:, :-QUERIES] += 1.0
    assert torch.equal(made(0, states), made(0, other))
    other[:, -1] += 1.0
    assert not torch.allclose(made(0, states), made(0, other))


def test_a_last_exit_before_the_end_always_answers_and_the_rest_leaves_the_memory():
    own = decoder(DEPTH)
    stage = reasoner(own, depth__layers=3, depth__budget=0.59)
    seen = ran(own.decoder.layers)
    assert len(own.decoder.layers) == 3
    plan = stage.plan(tokens(), 'open it')
    assert len(seen) == 3
    assert np.isfinite(plan.latents).all()
    assert 'after 3 of 4' in plan.reason


def test_the_action_is_judged_in_the_state_of_the_robot():
    changes = []
    for scale in (0.5, 2.0):
        own = decoder(DEPTH)
        reasoner(own, state=(scale, 0.0, 0.0), depth__budget=1.0).plan(tokens(), 'open it')
        changes.append(own.route.changes[0])
    assert changes[1] == pytest.approx(4 * changes[0], rel=1e-4)


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'depth__layers': 2}, 'depth.layers is 2 .* expected one of 1, 3'),
        ({'depth__budget': 0.2}, 'depth.budget is 0.2 .* at least 0.300'),
        ({'reuse__method': 'vla_cache'}, 'reuse.method is vla_cache with depth.method early_exit'),
        ({'pruning__method': 'specprune'}, 'pruning.method is specprune with depth.method'),
        ({'resampling__method': 'otter'}, 'resampling.method is otter with depth.method'),
    ],
)
def test_what_has_no_meaning_is_refused(values, reason):
    with pytest.raises(InvalidSettingError, match=reason):
        reasoner(**values)


def test_a_budget_changes_between_two_plans_and_a_bad_one_leaves_the_last():
    stage = reasoner()
    stage.configure(build(ReasonerSettings, {'depth.budget': 0.9}, stage._settings))
    before = stage._pilot._thresholds
    with pytest.raises(InvalidSettingError, match='at least'):
        stage.configure(build(ReasonerSettings, {'depth.budget': 0.1}, stage._settings))
    assert stage._pilot._thresholds == before


def uniform():
    return exits(*torch.rand(400, 2, generator=torch.Generator().manual_seed(0)).tolist())


def test_what_passes_cost_too_little_is_added_to_the_budget_of_the_next():
    made = uniform()
    pilot = ExitPilot(made, judge, Layers.all_of(DEPTH))
    pilot.configure(build(ReasonerSettings, {'depth.budget': 0.6}).depth)

    def thresholds(cost=None):
        route = pilot.route(torch.zeros(1, WIDTH), torch.zeros(1, WIDTH), None)
        route.cost = cost
        return route._thresholds

    assert thresholds(0.3) == made.thresholds(0.6, (0, 1), True)
    # The first pass leaves 0.3 over, the next one spends 0.5 more than its 0.6.
    for cost, budget in ((1.1, 0.9), (None, 0.4), (0.6, 0.4)):
        expected = made.thresholds(budget, (0, 1), True)
        assert thresholds(cost) == pytest.approx(expected, abs=0.05)
    pilot.configure(build(ReasonerSettings, {'depth.budget': 0.6}).depth)
    assert thresholds() == pytest.approx(made.thresholds(0.4, (0, 1), True), abs=0.05)
    pilot.reset()
    assert thresholds() == made.thresholds(0.6, (0, 1), True)


@pytest.mark.parametrize('scale', [0.8, 1.2])
@pytest.mark.parametrize('budget', [0.45, 0.6, 0.8])
def test_the_mean_cost_is_the_budget_on_frames_unlike_those_of_the_calibration(budget, scale):
    pilot = ExitPilot(uniform(), judge, Layers.all_of(DEPTH))
    pilot.configure(build(ReasonerSettings, {'depth.budget': budget}).depth)
    fixed = uniform().thresholds(budget, (0, 1), True)
    found, alone = [], []
    for changes in scale * np.random.default_rng(0).random((20, 15, 2)):
        pilot.reset()
        for two in changes:
            route = pilot.route(torch.zeros(1, WIDTH), torch.zeros(1, WIDTH), None)
            route.cost = cost_of(two, route._thresholds)
            found.append(route.cost)
            alone.append(cost_of(two, fixed))
    assert np.mean(found) == pytest.approx(budget, rel=0.03)
    assert np.mean(alone) != pytest.approx(budget, rel=0.05)


def cost_of(changes, thresholds):
    """Return what a pass costs whose exits are so far from those before."""
    left = [exit_ for exit_, eta in enumerate(thresholds) if changes[exit_] <= eta]
    return COSTS[min(left, default=2)]


def test_a_policy_without_exits_refuses_the_method():
    chosen = build(ReasonerSettings, {'depth.method': 'early_exit'})
    with pytest.raises(InvalidSettingError, match=r'depth.method is early_exit; expected none'):
        Reasoner(decoder(DEPTH), lambda text: {'input_ids': [3]}, TOKENS, chosen)


def test_tokens_that_were_dropped_before_an_exit_change_its_plan():
    whole, fewer = (
        reasoner(depth__budget=0.59, depth__layers=3, **values).plan(tokens(), 'open it')
        for values in ({}, {'pruning__method': 'random', 'pruning__min_tokens': 1})
    )
    assert len(fewer.kept) == 4
    assert np.abs(whole.latents - fewer.latents).max() > 1e-3


def test_time_is_saved_against_passes_of_all_layers_alone():
    stage = reasoner(depth__layers=3, depth__budget=0.59)
    saved = [stage.plan(tokens(seed), 'open it').saved_ms for seed in range(8)]
    assert np.isnan(saved).all()
    stage = reasoner(depth__budget=1.0)
    saved = [stage.plan(tokens(seed), 'open it').saved_ms for seed in range(8)]
    assert np.isfinite(saved[4:]).all()
