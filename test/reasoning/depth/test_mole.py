# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A router picks layers once for each frame; the others do not run."""

import numpy as np
import pytest
import torch
from fixtures.small_decoder import TOKENS, WIDTH, decoder, tokens

from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.depth.mole import LayerRouter, RouterPilot, balance, picked
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.stage import Reasoner
from efficient_vla.settings import InvalidSettingError, build

DEPTH = 5


class Fixed(LayerRouter):
    """Rates the layers as it is told, and remembers what it was asked."""

    def __init__(self, scores):
        super().__init__(len(scores), WIDTH, 8)
        self.scores, self.asked = torch.tensor([scores]), []

    def forward(self, visual, text, mask):
        self.asked.append((visual.shape, text.shape, mask.all()))
        return self.scores


def reasoner(own, router, **values):
    values = {'depth.method': 'mole'} | {n.replace('__', '.'): v for n, v in values.items()}
    chosen = build(ReasonerSettings, values)
    pilot = RouterPilot(router, own.parts.left)
    words = {'input_ids': [3, 4, 5]}
    return Reasoner(own, lambda text: words, TOKENS, chosen, pilot=pilot)


def dense(own):
    words = {'input_ids': [3, 4, 5]}
    return Reasoner(own, lambda text: words, TOKENS, ReasonerSettings())


def test_the_best_layers_run_and_always_the_first_and_the_last():
    scores = torch.tensor([[-9.0, 0.3, 0.1, 0.2, -9.0], [9.0, 0.1, 0.5, 0.2, 9.0]])
    assert picked(scores, 2).tolist() == [[True, False, False, False, True]] * 2
    assert picked(scores, 3).nonzero().tolist() == [[0, 0], [0, 1], [0, 4], [1, 0], [1, 2], [1, 4]]
    assert picked(scores, 5).all()


def test_identity_where_all_layers_are_picked_the_plan_is_dense():
    router = Fixed([0.0] * DEPTH)
    plan = reasoner(decoder(DEPTH), router).plan(tokens(), 'open it')
    assert router.asked == [((1, TOKENS, WIDTH), (1, 3, WIDTH), True)]
    expected = dense(decoder(DEPTH)).plan(tokens(), 'open it')
    np.testing.assert_allclose(plan.latents, expected.latents, atol=1e-5)
    assert 'mole ran layers 0, 1, 2, 3, 4 of 5' in plan.reason


def test_a_layer_that_is_not_picked_is_as_if_it_were_not_there():
    short = decoder(DEPTH)
    short.keep_layers((0, 3, 4))
    plan = reasoner(decoder(DEPTH), Fixed([0.0, 0.1, 0.2, 0.3, 0.0]), depth__layers=3)
    found, expected = (stage.plan(tokens(), 'open it') for stage in (plan, dense(short)))
    np.testing.assert_allclose(found.latents, expected.latents, atol=1e-5)
    assert 'mole ran layers 0, 3, 4 of 5' in found.reason


def test_tokens_are_dropped_before_the_next_layer_that_was_picked():
    values = {'pruning.method': 'fastv', 'pruning.keep': 0.5, 'pruning.min_tokens': 1}
    short = decoder(DEPTH)
    short.keep_layers((0, 3, 4))
    words = {'input_ids': [3, 4, 5]}
    expected = Reasoner(short, lambda text: words, TOKENS, build(ReasonerSettings, values))
    named = {name.replace('.', '__'): value for name, value in values.items()}
    stage = reasoner(decoder(DEPTH), Fixed([0.0, 0.1, 0.2, 0.3, 0.0]), depth__layers=3, **named)
    found, whole = (made.plan(tokens(), 'open it') for made in (stage, expected))
    assert len(found.kept) == 4
    assert np.array_equal(found.kept, whole.kept)
    np.testing.assert_allclose(found.latents, whole.latents, atol=1e-5)


def test_padding_of_the_words_changes_no_score():
    torch.manual_seed(0)
    router = LayerRouter(4, WIDTH, 8).eval()
    visual, text = torch.randn(1, 6, WIDTH), torch.randn(1, 5, WIDTH)
    mask = torch.tensor([[True, True, True, False, False]])
    with torch.inference_mode():
        found = router(visual, text, mask)
        torch.testing.assert_close(found, router(visual, text[:, :3], mask[:, :3]))
        other = router(visual + torch.randn(1, 6, 1), text, mask)
    assert not torch.allclose(found, other)


def test_an_even_spread_over_the_inner_layers_costs_least():
    even = torch.zeros(3, 5)
    chosen = picked(torch.tensor([[0.0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]]), 3)
    assert float(balance(even, chosen)) == pytest.approx(1.0)
    one = torch.tensor([[0.0, 20.0, 0.0, 0.0, 0.0]]).expand(3, -1)
    assert float(balance(one, picked(one, 3))) == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'depth__layers': 1}, 'depth.layers is 1 .* expected 2 to 5'),
        ({'depth__layers': 6}, 'depth.layers is 6 .* expected 2 to 5'),
        ({'reuse__method': 'vla_cache'}, 'a layer that did not run has no keys and values'),
    ],
)
def test_what_has_no_meaning_is_refused(values, reason):
    with pytest.raises(InvalidSettingError, match=reason):
        reasoner(decoder(DEPTH), Fixed([0.0] * DEPTH), **values)


def test_a_router_of_another_depth_is_refused():
    with pytest.raises(InvalidSettingError, match='router for 4 layers; the decoder has 5'):
        RouterPilot(Fixed([0.0] * 4), Layers.all_of(DEPTH))
