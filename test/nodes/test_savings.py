# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Saved time is measured against full passes of the same run."""

import math

import pytest

from efficient_vla.statistics import Savings


def test_nothing_is_known_before_a_full_pass_after_the_warm_up():
    savings = Savings(warm_up=2)
    assert math.isnan(savings.add(900.0, full=True))
    assert math.isnan(savings.add(500.0, full=True))
    assert math.isnan(savings.add(30.0, full=False))
    savings.add(100.0, full=True)
    assert savings.add(30.0, full=False) == pytest.approx(70.0)


def test_saved_is_the_median_of_full_passes_minus_the_pass():
    savings = Savings(warm_up=0)
    for milliseconds in (90.0, 100.0, 500.0):
        savings.add(milliseconds, full=True)
    assert savings.add(40.0, full=False) == pytest.approx(60.0)
    assert savings.add(130.0, full=False) == pytest.approx(-30.0)


def test_only_recent_full_passes_count():
    savings = Savings(window=3, warm_up=0)
    for milliseconds in (400.0, 400.0, 400.0, 100.0, 100.0):
        savings.add(milliseconds, full=True)
    assert savings.add(40.0, full=False) == pytest.approx(60.0)
