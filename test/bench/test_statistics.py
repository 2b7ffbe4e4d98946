# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics against cases computed by hand or printed in textbooks."""

import pytest

from efficient_vla.bench.compare import mcnemar, wilson_interval
from efficient_vla.records import percentiles


def test_wilson_interval_matches_hand_computed_cases():
    # 8 of 10 with z = 2: centre (0.8 + 0.2) / 1.4, half width 2 sqrt(0.016 + 0.01) / 1.4.
    low, high = wilson_interval(8, 10, z=2.0)
    assert low == pytest.approx(0.4839355, abs=1e-6)
    assert high == pytest.approx(0.9446359, abs=1e-6)


def test_wilson_interval_is_symmetric_at_one_half():
    low, high = wilson_interval(10, 20)
    assert low == pytest.approx(1 - high)
    assert low == pytest.approx(0.2993, abs=1e-4)


def test_wilson_interval_stays_inside_and_is_not_empty_at_the_ends():
    assert wilson_interval(0, 20) == (0.0, pytest.approx(0.1611, abs=1e-4))
    low, high = wilson_interval(20, 20)
    assert low == pytest.approx(0.8389, abs=1e-4)
    assert high == 1.0


def test_wilson_interval_without_trials_knows_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_wilson_interval_rejects_more_successes_than_trials():
    with pytest.raises(ValueError, match='3 successes of 2 trials'):
        wilson_interval(3, 2)


def test_mcnemar_counts_only_pairs_that_differ():
    first = [True] * 5 + [True] * 9 + [False] * 4
    second = [False] * 5 + [True] * 9 + [False] * 4
    # Five pairs, all in one direction: 2 * (1/2)^5.
    assert mcnemar(first, second) == pytest.approx(0.0625)
    assert mcnemar(second, first) == pytest.approx(0.0625)


def test_mcnemar_of_one_against_nine():
    first = [True] * 9 + [False]
    second = [False] * 9 + [True]
    # 2 * (C(10,0) + C(10,1)) / 2^10.
    assert mcnemar(first, second) == pytest.approx(22 / 1024)


def test_mcnemar_is_one_when_nothing_differs():
    assert mcnemar([True, False], [True, False]) == 1.0
    assert mcnemar([True, False], [False, True]) == 1.0


def test_mcnemar_rejects_unpaired_outcomes():
    with pytest.raises(ValueError, match='expected pairs'):
        mcnemar([True], [True, False])


def test_percentiles_interpolate():
    found = percentiles([float(value) for value in range(101)])
    assert found == {'p50': 50.0, 'p95': 95.0, 'p99': 99.0}
    assert percentiles([1.0, 2.0])['p50'] == 1.5


def test_percentiles_of_nothing_are_zero():
    assert percentiles([]) == {'p50': 0.0, 'p95': 0.0, 'p99': 0.0}
    assert percentiles([float('nan')]) == {'p50': 0.0, 'p95': 0.0, 'p99': 0.0}


def test_percentiles_leave_out_what_was_not_measured():
    assert percentiles([1.0, float('nan'), 3.0])['p50'] == 2.0
