# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The brake keeps its limits, ends at rest, and knows beforehand how far it goes."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from efficient_vla.control.braking import AxisState, brake, brake_phases, brake_span
from efficient_vla.control.settings import stop_time

LIMIT, JERK = 20.0, 1500.0
STATES = st.builds(
    AxisState,
    st.floats(-1, 1),
    st.floats(-0.8, 0.8),
    st.floats(-LIMIT, LIMIT),
)


def test_a_stop_from_full_speed_matches_a_hand_computation():
    # 0.8 m/s at 20 m/s^2 with a ramp of 1/75 s: 0.04 + 0.01333 s, and 0.8 m/s * half of that.
    phases = brake_phases(0.8, 0.0, LIMIT, JERK)
    assert [jerk for jerk, _ in phases] == [-JERK, 0.0, JERK]
    assert sum(time for _, time in phases) == pytest.approx(0.8 / 20 + 20 / 1500)
    stopped = brake(AxisState(0.0, 0.8, 0.0), LIMIT, JERK, 1.0)
    assert stopped == (pytest.approx(0.8 * (0.04 + 0.04 / 3) / 2), 0.0, 0.0)


def test_a_slow_stop_has_no_plateau():
    phases = brake_phases(0.01, 0.0, LIMIT, JERK)
    assert phases[1] == (0.0, 0.0)
    assert sum(time for _, time in phases) == pytest.approx(stop_time(0.01, LIMIT, JERK))


def test_at_rest_nothing_moves():
    assert brake(AxisState(0.3, 0.0, 0.0), LIMIT, JERK, 0.01) == (0.3, 0.0, 0.0)


@given(STATES)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_brake_keeps_its_limits_and_ends_at_rest(state):
    phases = brake_phases(state.velocity, state.acceleration, LIMIT, JERK)
    assert all(abs(jerk) <= JERK and time >= 0 for jerk, time in phases)
    end = sum(time for _, time in phases)
    samples = [brake(state, LIMIT, JERK, time) for time in np.linspace(0, end * 0.999999, 50)]
    assert max(abs(sample.acceleration) for sample in samples) <= LIMIT * (1 + 1e-9)
    last = samples[-1]
    assert abs(last.velocity) < 1e-5
    assert brake(state, LIMIT, JERK, end + 1e-9)[1:] == (0.0, 0.0)
    # It never speeds up beyond what the acceleration of the start forces.
    forced = abs(state.velocity) + state.acceleration**2 / (2 * JERK)
    assert max(abs(sample.velocity) for sample in samples) <= forced + 1e-9


@given(STATES, st.floats(0.0, 0.1))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_an_interrupted_brake_goes_on_where_it_was(state, time):
    through = brake(state, LIMIT, JERK, 0.3)
    resumed = brake(brake(state, LIMIT, JERK, time), LIMIT, JERK, 0.3)
    assert resumed.position == pytest.approx(through.position, abs=1e-9)


@given(STATES)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_range_of_a_brake_is_known_beforehand(state):
    low, high, takes = brake_span(state, LIMIT, JERK)
    path = [brake(state, LIMIT, JERK, time).position for time in np.linspace(0, 0.15, 100)]
    assert min(path) == pytest.approx(low, abs=2e-5)
    assert max(path) == pytest.approx(high, abs=2e-5)
    assert brake(state, LIMIT, JERK, takes)[1:] == (0.0, 0.0)
    assert takes < 1e-6 or brake(state, LIMIT, JERK, 0.99 * takes)[1:] != (0.0, 0.0)
    assert low <= min(path) + 1e-12
    assert max(path) <= high + 1e-12


def test_an_acceleration_beyond_the_limit_is_brought_back():
    # The limits were lowered while the robot accelerated.
    state = AxisState(0.0, 0.5, -30.0)
    assert brake_phases(0.5, -30.0, LIMIT, JERK)[0][0] == JERK
    assert brake(state, LIMIT, JERK, 1.0)[1:] == (0.0, 0.0)
