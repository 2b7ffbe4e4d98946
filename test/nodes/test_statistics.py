# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Latencies, rates and periods."""

import math

import pytest

from efficient_vla.nodes.base.history import Pace, StateHistory, overtaken
from efficient_vla.statistics import (
    LatencyWindow,
    PeriodMeter,
    RateMeter,
    TimeHistogram,
    resident_mb,
)


def test_percentiles_leave_the_warm_up_out():
    window = LatencyWindow(size=100, warm_up=2)
    for latency in (900.0, 800.0, *range(1, 101)):
        window.add(float(latency))
    p50, p95, p99 = window.percentiles()
    assert (p50, p95) == pytest.approx((50.5, 95.05))
    assert p99 < 101
    assert window.count == 102


def test_percentiles_are_unknown_before_the_warm_up_is_over():
    window = LatencyWindow(warm_up=2)
    window.add(5.0)
    assert all(math.isnan(value) for value in window.percentiles())


def test_rate_falls_when_nothing_comes_any_more():
    clock = [0.0]
    meter = RateMeter(window_s=5.0, monotonic=lambda: clock[0])
    for clock[0] in (0.0, 0.1, 0.2, 0.3):
        meter.tick()
    assert meter.rate() == pytest.approx(10.0)
    clock[0] = 2.3
    assert meter.rate() < 2.0
    clock[0] = 9.0
    assert meter.rate() == 0.0


def test_period_meter_knows_mean_and_tail():
    meter = PeriodMeter()
    now = 0.0
    assert math.isnan(meter.percentile_ms(99))
    for index in range(1000):
        now += 0.030 if index % 50 == 49 else 0.010
        meter.tick(now)
    assert meter.percentile_ms(99) == pytest.approx(30.0, abs=0.1)
    assert meter.mean_ms() == pytest.approx(10.4, abs=0.1)
    assert meter.rate_hz() == pytest.approx(96.0, abs=1.0)
    meter.restart()
    assert math.isnan(meter.mean_ms())


def test_histogram_tells_the_upper_end_of_the_bin_of_a_percentile():
    times = TimeHistogram(0.5)
    assert math.isnan(times.percentile_ms(50))
    for milliseconds in (0.1, 0.2, 1.2, 1.3, 99999.0):
        times.add(milliseconds)
    assert [times.percentile_ms(percent) for percent in (40, 80)] == [0.5, 1.5]
    assert times.percentile_ms(100) == 0.5 * times.BINS
    times.restart()
    assert math.isnan(times.percentile_ms(50))


def test_resident_memory_is_plausible():
    assert 5 < resident_mb() < 100_000


def test_history_finds_the_nearest_state_and_forgets_old_ones():
    history = StateHistory(keep=1.05)
    for step in range(30):
        history.add(step * 0.1, step)
    assert history.nearest(2.52) == (25, pytest.approx(0.02))
    assert history.nearest(0.0)[0] == 19


def test_history_starts_anew_when_stamps_go_back_further_than_it_reaches():
    history = StateHistory()
    history.add(50.0, 'old')
    history.add(1.0, 'new')
    assert history.nearest(50.0)[0] == 'new'
    assert len(history) == 1


def test_state_that_was_overtaken_is_sorted_in_and_nothing_is_forgotten():
    history = StateHistory(keep=2.0)
    for stamp in (10.0, 10.2, 10.1, 10.3, 8.4):
        history.add(stamp, stamp)
    assert [stamp for stamp, _ in history.take()] == [8.4, 10.0, 10.1, 10.2, 10.3]
    assert len(history) == 0


def test_history_is_bounded_however_fast_states_come(monkeypatch):
    monkeypatch.setattr('efficient_vla.nodes.base.history.MOST', 5)
    history = StateHistory()
    for step in range(9):
        history.add(1.0 + step * 1e-6, step)
    assert [values for _, values in history.take()] == [4, 5, 6, 7, 8]


def test_overtaken_is_what_came_a_little_late_and_not_what_is_of_another_clock():
    assert overtaken(9.9, 10.0)
    assert overtaken(8.0, 10.0)
    assert not overtaken(10.0, 10.0)
    assert not overtaken(10.1, 10.0)
    assert not overtaken(7.9, 10.0)


def test_image_that_was_overtaken_is_not_taken_for_a_clock_that_was_set_back():
    pace = Pace()
    assert pace.due(100.0, 10.0)
    assert not pace.due(99.7, 10.0)
    assert not pace.due(100.05, 10.0)
    assert pace.due(100.1, 10.0)


def test_pace_keeps_the_rate_on_average():
    pace = Pace()
    used = sum(pace.due(step / 30, 10.0) for step in range(300))
    assert used == pytest.approx(100, abs=2)


def test_pace_lets_every_input_through_that_comes_at_its_rate():
    pace = Pace()
    jitter = (0.0, 0.004, -0.004, 0.002)
    assert all(pace.due(step * 0.1 + jitter[step % 4], 10.0) for step in range(100))


def test_pace_begins_anew_where_capture_times_were_set_back():
    pace = Pace()
    assert pace.due(100.0, 10.0)
    assert not pace.due(100.0, 10.0)
    assert pace.due(40.0, 10.0)
    assert not pace.due(40.05, 10.0)
