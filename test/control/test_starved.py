# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""An arm whose next chunk does not come stands at the end of the one that it has."""

import math

import numpy as np
import pytest

from efficient_vla.control.pace import JERK_SHARE, PathPace
from efficient_vla.control.state import State
from efficient_vla.control.time_scaling import OVERDUE, TimeScaling

PERIOD = 0.01
INTERVAL = 0.1
ROWS, DT = 40, 0.0125
MOVE = (0.4, 0.2, 0.0)
SOFT = {
    'watchdog.chunk_timeout': 2.0,
    'ramp_time': 0.0,
    'limits.max_acceleration': (4.0,),
    'limits.stop_deceleration': (4.0,),
    'limits.max_jerk': (80.0,),
    'limits.position_low': (-9.0,),
    'limits.position_high': (9.0,),
}
TAKES = 0.4 / 4.0 + 4.0 / (JERK_SHARE * 80.0)
"""Time that a brake along the path takes from the faster axis's speed [s]."""


def arm_of(make_controller, straight, chunks, offsets=None):
    """Return an arm and its motions [T, 3, M] while so many chunks come, and until it stands."""
    controller = make_controller({**SOFT, 'time_scaling.low': 0.5})
    due = np.arange(chunks) * INTERVAL + (0.0 if offsets is None else offsets)
    motions, now, sequence = [], 0.0, 0
    while sequence < chunks or controller.state != State.HOLDING:
        if sequence < chunks and due[sequence] <= now + 1e-9:
            sequence += 1
            assert controller.accept(straight(MOVE, now, sequence, rows=ROWS), now) is None
        now += PERIOD
        controller.tick(now)
        motions.append(controller.motion)
        assert now < 10
    return controller, np.array(motions)


def test_it_brakes_in_time_to_stand_at_its_last_row(make_controller, straight):
    controller, motions = arm_of(make_controller, straight, 20)
    end = controller._newest.at(1e3)[0]
    assert controller.reason == 'chunk 20 ran out'
    assert controller.underruns == 1
    ways = motions[:, 0] @ np.array(MOVE) / np.linalg.norm(MOVE)
    last = end @ np.array(MOVE) / np.linalg.norm(MOVE)
    # Within a period of the end, and never beyond.
    assert last - np.linalg.norm(MOVE) * PERIOD <= ways[-1] <= last + 1e-6
    # At full speed until its limits have it brake: the clock has about half of the jerk.
    fast = motions[:, 1, 0] > 0.999 * MOVE[0]
    begins = int(np.flatnonzero(fast)[-1])
    assert (len(motions) - begins) * PERIOD == pytest.approx(TAKES, abs=3 * PERIOD)
    # Straight, inside of the limits.
    across = motions[begins:, 0] @ np.array([-MOVE[1], MOVE[0], 0.0])
    assert np.ptp(across) < 1e-6
    assert np.abs(motions[:, 2]).max() <= 4.0 * (1 + 1e-6)
    assert np.abs(np.diff(motions[:, 2], axis=0)).max() <= 80.0 * PERIOD * (1 + 1e-6)


def test_one_that_never_heard_when_chunks_come_brakes_where_its_rows_end(make_controller, straight):
    controller, motions = arm_of(make_controller, straight, 1)
    end = controller._newest.at(1e3)[0]
    beyond = motions[-1, 0, 0] - end[0]
    assert beyond == pytest.approx(MOVE[0] * (0.4 / 4.0 + 4.0 / 80.0) / 2, rel=0.15)


def test_chunks_that_come_unevenly_and_in_time_are_not_slowed(
    make_controller, straight, monkeypatch
):
    offsets = np.random.default_rng(3).uniform(0.0, 0.6 * INTERVAL, 40)
    _, motions = arm_of(make_controller, straight, 40, offsets)
    monkeypatch.setattr(TimeScaling, 'overdue', lambda self, now: False)
    _, others = arm_of(make_controller, straight, 40, offsets)
    count = int(40 * INTERVAL / PERIOD)
    np.testing.assert_array_equal(motions[:count], others[:count])


def test_a_chunk_is_overdue_after_one_and_a_half_of_the_longer_of_two_intervals():
    scaling = TimeScaling(0.5)
    assert not scaling.overdue(100.0)
    for arrived in (0.0, 0.5, 0.7, 0.9):
        scaling.arrived(0.5, 0.4, arrived, 0.1, math.inf)
    longest = 0.2
    assert not scaling.overdue(0.9 + OVERDUE * longest - 1e-6)
    assert scaling.overdue(0.9 + OVERDUE * longest + 1e-6)


@pytest.mark.parametrize('room', [0.3, 0.1])
def test_the_clock_stands_within_its_room_or_brakes_as_hard_as_it_may(room):
    pace = PathPace()
    path = np.array([[0.0], [0.5], [0.0]])
    pace.begin(path, path, 1.0, 0.0)
    gone = speeds = 0.0
    steps = []
    while not pace.ended:
        gone += pace.advance(PERIOD, (1.0, 0.0), (2.0, 5.0, 100.0), 0.0, max(room - gone, 0.0))
        steps.append(pace.speed)
        assert len(steps) < 200
    # From a speed of 1: 1 / 5 s and 5 / 100 s for the jerk.
    needs = (1 / 5 + 5 / 100) / 2
    speeds = np.diff([1.0, *steps]) / PERIOD
    assert speeds.min() >= -5.0 - 1e-6
    if room > needs:
        assert room - 2 * PERIOD <= gone <= room + 1e-9
    else:
        assert gone == pytest.approx(needs, abs=1e-6)
