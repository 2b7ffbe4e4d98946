# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""VLA-Cache decides which keys and values of earlier frames are still good."""

import torch

from efficient_vla.reasoning.depth.layers import Layers
from efficient_vla.reasoning.reuse.vla_cache import CachedFrame, VlaCache, growing_shares
from efficient_vla.reasoning.runner import PassResult
from efficient_vla.reasoning.settings import ReuseSettings

DEPTH, COUNT = 4, 5
PLAIN = ReuseSettings('vla_cache', threshold=0.1, task_share=0.0, adaptive=False)
EVERYTHING = torch.arange(COUNT)
UNKNOWN = torch.full((COUNT,), float('nan'))


def frame(stamp, change=(), key=('task',)):
    features = torch.ones(COUNT, 4)
    for token, value in change:
        features[token] += value
    return CachedFrame(features, COUNT + 3, key, stamp)


def passed(cache, given, computed=EVERYTHING, settings=PLAIN, task=UNKNOWN, entropy=None):
    """Go through one plan; return the schedule and the reason."""
    reuse, reason = cache.begin(given, task, settings)
    empty = torch.zeros(0)
    cache.end(PassResult(empty, empty, EVERYTHING, computed, entropy=entropy or {}))
    return reuse.skip, reason


def test_an_unchanged_frame_reuses_every_token():
    cache = VlaCache(Layers.all_of(DEPTH))
    assert passed(cache, frame(0.0)) == ({}, 'first plan')
    skip, reason = passed(cache, frame(0.1))
    assert reason == ''
    assert list(skip) == [0]
    assert sorted(skip[0].tolist()) == list(range(COUNT))


def test_changed_tokens_are_computed():
    cache = VlaCache(Layers.all_of(DEPTH))
    passed(cache, frame(0.0))
    skip, _ = passed(cache, frame(0.1, [(1, 0.2), (3, 0.05)]))
    assert skip[0].tolist() == [0, 2, 4, 3]  # the most static first


def test_slow_drift_is_measured_against_what_the_slot_was_computed_from():
    cache = VlaCache(Layers.all_of(DEPTH))
    passed(cache, frame(0.0))
    skip, _ = passed(cache, frame(0.1, [(2, 0.06)]), computed=torch.tensor([0, 1, 3, 4]))
    assert 2 in skip[0]
    skip, _ = passed(cache, frame(0.2, [(2, 0.12)]))
    assert 2 not in skip[0]


def test_tokens_that_the_task_looks_at_are_computed():
    cache = VlaCache(Layers.all_of(DEPTH))
    settings = ReuseSettings('vla_cache', threshold=0.1, task_share=0.4, adaptive=False)
    passed(cache, frame(0.0))
    task = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.0])
    skip, _ = passed(cache, frame(0.1), settings=settings, task=task)
    assert sorted(skip[0].tolist()) == [0, 2, 4]


def test_tokens_of_unknown_relevance_are_computed_first():
    cache = VlaCache(Layers.all_of(DEPTH))
    settings = ReuseSettings('vla_cache', threshold=0.1, task_share=0.2, adaptive=False)
    passed(cache, frame(0.0))
    task = torch.tensor([0.1, 0.9, float('nan'), 0.8, 0.0])
    skip, _ = passed(cache, frame(0.1), settings=settings, task=task)
    assert sorted(skip[0].tolist()) == [0, 1, 3, 4]


def test_no_slot_outlives_max_age():
    cache = VlaCache(Layers.all_of(DEPTH))
    settings = ReuseSettings('vla_cache', task_share=0.0, adaptive=False, max_age=0.25)
    passed(cache, frame(0.0), settings=settings)
    for stamp in (0.1, 0.2):
        skip, _ = passed(cache, frame(stamp), torch.tensor([0]), settings)
        assert len(skip[0]) == COUNT
    skip, _ = passed(cache, frame(0.3), settings=settings)
    assert skip[0].tolist() == [0]  # the only one computed since
    assert cache.age([0], 0.3).max() <= 0.25


def test_everything_is_computed_at_the_refresh():
    cache = VlaCache(Layers.all_of(DEPTH))
    settings = ReuseSettings('vla_cache', task_share=0.0, adaptive=False, refresh_every=3)
    reasons = [passed(cache, frame(0.1 * step), settings=settings)[1] for step in range(7)]
    assert reasons == ['first plan', '', '', 'refresh', '', '', 'refresh']


def test_what_invalidates_is_named():
    for other, reason in (
        (frame(0.1, key=('other',)), 'instruction or epoch changed'),
        (frame(-1.0), 'clock jumped back'),
        (frame(9.0), 'max age'),
        (CachedFrame(torch.ones(COUNT, 4), COUNT + 4, ('task',), 0.1), 'tokens changed'),
    ):
        cache = VlaCache(Layers.all_of(DEPTH))
        passed(cache, frame(0.0))
        assert passed(cache, other) == ({}, reason)


def test_flush_computes_everything_for_the_given_reason():
    cache = VlaCache(Layers.all_of(DEPTH))
    passed(cache, frame(0.0))
    cache.flush('episode started')
    assert passed(cache, frame(0.1)) == ({}, 'episode started')


def test_growing_shares_by_hand():
    """Targets 0, 0.5, 1 and 0; growth 0.5 halves each rise, and nothing falls."""
    assert growing_shares((4.0, 3.0, 2.0, 4.0), 0.5) == [0.0, 0.25, 0.625, 0.625]
    assert growing_shares((), 0.5) == []


def test_adaptive_reuse_grows_from_layer_to_layer():
    cache = VlaCache(Layers.all_of(DEPTH))
    settings = ReuseSettings('vla_cache', task_share=0.0, growth=1.0)
    entropy = dict(enumerate((4.0, 3.0, 2.0, 4.0)))
    assert cache.wants_entropy
    passed(cache, frame(0.0), settings=settings, entropy=entropy)
    assert not cache.wants_entropy
    skip, _ = passed(cache, frame(0.1), settings=settings)
    assert {layer: len(tokens) for layer, tokens in skip.items()} == {1: 2, 2: 5}


def test_the_share_grows_at_the_named_depths_only():
    """Of 8 layers 2, 6, 9 and 11 of 32 are 0, 2, 2 and 3; shares by hand with growth 1."""
    cache = VlaCache(Layers.all_of(8))
    shares = (2 / 32, 6 / 32, 9 / 32, 11 / 32)
    settings = ReuseSettings('vla_cache', task_share=0.0, growth=1.0, layers=shares)
    entropy = dict(enumerate((8.0, 6.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0)))
    passed(cache, frame(0.0), settings=settings, entropy=entropy)
    skip, _ = passed(cache, frame(0.1), settings=settings)
    # Shares 0, 0.25, 0.5, 1: layer 1 is not named, so half of five begins at 2 and all at 3.
    assert {layer: len(tokens) for layer, tokens in skip.items()} == {2: 2, 3: 5}


def test_reuse_begins_no_earlier_than_the_selection():
    cache = VlaCache(Layers.all_of(DEPTH))
    passed(cache, frame(0.0))
    reuse, _ = cache.begin(frame(0.1), UNKNOWN, PLAIN, first_layer=2)
    assert list(reuse.skip) == [2]
