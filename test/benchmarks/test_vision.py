# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The rows about the vision tower, at small sizes: what they hold, not how fast this machine is."""

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.tokens import vision


@pytest.fixture(scope='module')
def time_rows():
    return vision.where_time_goes(quick=True)


@pytest.fixture(scope='module')
def partial_rows():
    return vision.partial_recompute(quick=True)


@pytest.fixture(scope='module')
def static_rows():
    return vision.static_scene(quick=True)


@pytest.fixture(params=['time_rows', 'partial_rows', 'static_rows'])
def rows(request):
    return request.getfixturevalue(request.param)


def test_rows_are_flat_and_say_how_they_were_measured(rows):
    assert rows
    for row in rows:
        assert all(isinstance(value, (str, int, float)) for value in row.values()), row
        assert {'table', 'config', 'weights', 'repeats', 'warm_up', 'threads'} <= set(row)
        assert all(np.isfinite(v) for v in row.values() if not isinstance(v, str)), row
        times = [value for name, value in row.items() if name.endswith('_ms')]
        assert min(times) > 0


def test_parts_of_a_plan_make_up_the_whole(time_rows):
    parts = [row['part'] for row in time_rows]
    assert parts == ['vision', 'connector', 'language', 'action expert', 'all']
    assert time_rows[-1]['share'] == 1
    assert time_rows[0]['prefix_tokens'] == 2 * 4 + vision.TEXT_TOKENS


def test_every_share_is_measured_with_and_without_the_bound_for_both_towers(partial_rows):
    assert len(partial_rows) == 8
    assert {row['config'] for row in partial_rows} == {vision.SMALL.name, 'evla-nano'}
    for row in partial_rows:
        assert row['changed_share'] < row['computed_share'] < 1
        assert 0 < row['token_error_mean'] < row['token_error_max']
        assert row['probed_error_max'] > 0
    small, large = (
        np.mean([row['changed_share'] for row in partial_rows if row['nominal_share'] == share])
        for share in (0.1, 0.25)
    )
    assert small < large


def test_still_scene_with_noise_hits_the_cache(static_rows):
    for row in static_rows:
        # One refresh for max_age in 40 frames.
        assert row['hit_rate'] > 0.9
        assert 0 < row['tower_mean_ms'] < row['mean_ms']
        assert row['tower_speedup_mean'] > row['speedup_mean'] > 1


def test_object_covers_the_share_that_was_asked_for():
    images = vision.moving_object(512, 32, 0.25, 4)
    for before, after in pairwise(images):
        moved = (before != after).any(2).reshape(32, 16, 32, 16).any((1, 3)).mean()
        assert moved == pytest.approx(0.25, abs=0.02)


def test_scene_has_more_detail_at_low_frequencies_than_at_high_ones():
    grey = vision.scene(128).astype(float).mean(2)
    power = np.abs(np.fft.rfft2(grey - grey.mean())) ** 2
    assert power[1:8, 1:8].mean() > 100 * power[32:48, 32:48].mean()
    assert grey.std() > 10
