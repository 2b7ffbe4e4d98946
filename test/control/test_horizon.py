# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunks that contradict each other are executed less far, those that agree further."""

import numpy as np
import pytest

from efficient_vla.control.horizon import GROW, SHRINK, Horizon
from efficient_vla.control.settings import HorizonSettings
from efficient_vla.control.state import State
from efficient_vla.control.trajectory import Trajectory
from efficient_vla.settings import build

ADAPTIVE = {'method': 'adaptive', 'low': 0.2, 'high': 1.0, 'disagreement': 0.2}


@pytest.fixture
def path(straight):
    """Make a trajectory along x at 0.2 m/s for 0.5 s that starts beside the origin."""

    def make(aside=0.0, start=0.0):
        return Trajectory(
            straight((0.2, 0, 0), start), np.arange(3), 3, np.array([0.2 * start, aside, 0]), start
        )

    return make


def horizon(**values):
    return Horizon(build(HorizonSettings, {**ADAPTIVE, **values}))


def length(found, trajectory, delay=0.0):
    return found.end(trajectory, delay)[0] - trajectory.start


def test_without_the_method_a_chunk_lasts_to_its_end(path):
    found = horizon(method='none')
    found.compare(path(0.1), path(), 0.0)
    assert found.end(path(), 0.0) == (path().end, 'chunk 1 ran out')


def test_disagreement_shrinks_the_horizon_down_to_its_bound(path):
    found = horizon()
    assert length(found, path()) == 0.5
    found.compare(path(0.1), path(), 0.0)
    assert length(found, path()) == pytest.approx(0.5 * SHRINK)
    assert found.end(path(), 0.0)[1] == 'chunk 1 reached its execution horizon of 0.350 s'
    for _ in range(10):
        found.compare(path(0.1), path(), 0.0)
    assert length(found, path()) == pytest.approx(0.2)


def test_agreement_lets_it_grow_again(path):
    found = horizon()
    for _ in range(10):
        found.compare(path(0.1), path(), 0.0)
    found.compare(path(), path(), 0.0)
    assert length(found, path()) == pytest.approx(0.2 * GROW)
    for _ in range(30):
        found.compare(path(), path(), 0.0)
    assert length(found, path()) == 0.5


def test_between_the_thresholds_it_stays(path):
    found = horizon()
    found.compare(path(0.1), path(), 0.0)
    before = length(found, path())
    # The way is 0.1 m: 15 mm is between a tenth and a fifth of it.
    for _ in range(5):
        found.compare(path(0.015), path(), 0.0)
    assert length(found, path()) == before


def test_no_horizon_is_shorter_than_two_delays(path):
    found = horizon()
    for _ in range(10):
        found.compare(path(0.1), path(), 0.0)
    assert length(found, path(), 0.15) == pytest.approx(0.3)


def test_other_settings_move_the_horizon_into_their_bounds_and_no_further(path):
    found = horizon()
    for _ in range(10):
        found.compare(path(0.1), path(), 0.0)
    found.configure(build(HorizonSettings, {**ADAPTIVE, 'high': 0.9}))
    assert length(found, path()) == pytest.approx(0.2)
    found.configure(build(HorizonSettings, {**ADAPTIVE, 'low': 0.4}))
    assert length(found, path()) == pytest.approx(0.4)


def test_chunks_that_share_no_time_teach_nothing(path):
    found = horizon()
    found.compare(path(0.1, start=0.6), path(), 0.6)
    assert length(found, path()) == 0.5


def wavering(controller, straight, run):
    """Drive by chunks that go left and right in turn; return the time at which they stop coming."""
    for count in range(8):
        now = 0.05 * count
        speed = 0.2 if count % 2 else -0.2
        controller.accept(straight((0.2, speed, 0), now, count + 1), now)
        run(controller, now, now + 0.05)
    return 0.35


@pytest.mark.parametrize('method', ['none', 'adaptive'])
def test_the_controller_executes_less_of_chunks_that_contradict_each_other(
    make_controller, straight, run, method
):
    values = {f'horizon.{name}': value for name, value in ADAPTIVE.items()}
    controller = make_controller({**values, 'horizon.method': method})
    stamp = wavering(controller, straight, run)
    expected = 0.2 if method == 'adaptive' else 0.5
    assert controller.report(0.4).remaining == pytest.approx(stamp + expected - 0.4)
    run(controller, 0.4, 0.8)
    assert controller.state == (State.HOLDING if method == 'adaptive' else State.TRACKING)
    if method == 'adaptive':
        assert controller.reason == 'chunk 8 reached its execution horizon of 0.200 s'
    assert controller.underruns == (method == 'adaptive')
    controller.flush(0.8, 'another task')
    controller.accept(straight((0.2, 0, 0), 0.8, 9), 0.8)
    # Chunks of another task have not contradicted each other yet.
    assert controller.report(0.8).remaining == pytest.approx(0.5)
