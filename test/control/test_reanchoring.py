# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A chunk continues from the set-point that its observation saw: nothing repeated, nothing lost."""

import numpy as np
import pytest

from efficient_vla.control.history import History

DT = 0.0125
X = 0.1


@pytest.fixture
def exact(unlimited):
    return {**unlimited, 'blending.method': 'latest_only', 'rate': 80.0}


def along_x(make_chunk, millimetres, stamp=0.0, sequence=1):
    rows = np.zeros((len(millimetres), 4))
    rows[:, 0] = np.array(millimetres) / 1000
    return make_chunk(rows, stamp, sequence)


def tick(controller, steps):
    """Let so many steps pass."""
    for step in range(1, steps + 1):
        controller.tick(step * DT)


def test_motion_made_while_the_chunk_was_computed_is_neither_repeated_nor_lost(
    make_controller, make_chunk, exact
):
    controller = make_controller(exact)
    # The first chunk moves 5 + 5 + 10 mm while the second is computed from the same observation.
    controller.accept(along_x(make_chunk, [5, 5, 10, 7, 7, 7]), 0.0)
    tick(controller, 3)
    assert controller.tick(3 * DT).position[0] == pytest.approx(X + 0.020, abs=1e-7)
    assert controller.accept(along_x(make_chunk, [5, 5, 10, 4, 4, 4], 0.0, 2), 3 * DT) is None
    # A restart at row 0 would give 25 mm, a restart from the present position 44 mm.
    assert controller.tick(4 * DT).position[0] == pytest.approx(X + 0.024, abs=1e-7)
    assert controller.tick(5 * DT).position[0] == pytest.approx(X + 0.028, abs=1e-7)
    assert controller.max_seam == pytest.approx(0.0, abs=1e-7)


def test_a_correction_takes_effect_in_full(make_controller, make_chunk, exact):
    controller = make_controller(exact)
    controller.accept(along_x(make_chunk, [5] * 10), 0.0)
    tick(controller, 5)
    # Observed after 2 steps at 10 mm: the arm should have gone 2 mm a step since then.
    controller.accept(along_x(make_chunk, [2] * 10, 2 * DT, 2), 5 * DT)
    # The set-point is at 25 mm, the new chunk at 10 + 3 * 2 = 16 mm.
    assert controller.max_seam == pytest.approx(0.009, abs=1e-7)
    assert controller.tick(6 * DT).position[0] == pytest.approx(X + 0.018, abs=1e-7)


def test_an_observation_between_two_ticks_is_anchored_between_their_set_points(
    make_controller, make_chunk, exact
):
    controller = make_controller(exact)
    controller.accept(along_x(make_chunk, [8] * 10), 0.0)
    tick(controller, 3)
    controller.accept(along_x(make_chunk, [0] * 10, 1.25 * DT, 2), 3 * DT)
    assert controller.tick(4 * DT).position[0] == pytest.approx(X + 0.010, abs=1e-7)


def test_robot_delay_anchors_to_the_set_point_that_the_robot_had_reached(
    make_controller, make_chunk, exact
):
    controller = make_controller({**exact, 'robot_delay': 2 * DT})
    controller.accept(along_x(make_chunk, [8] * 20), 0.0)
    tick(controller, 5)
    # The camera at step 5 saw the arm where the set-point was at step 3, and the chunk says that
    # it goes on at the same speed: the set-points must go on two steps ahead of the arm.
    controller.accept(along_x(make_chunk, [8] * 20, 5 * DT, 2), 5 * DT)
    assert controller.max_seam == pytest.approx(0.0, abs=1e-7)
    assert controller.tick(6 * DT).position[0] == pytest.approx(X + 0.048, abs=1e-7)


def test_the_first_chunk_starts_at_its_first_row_however_long_it_took(
    make_controller, make_chunk, exact
):
    controller = make_controller(exact)
    tick(controller, 20)
    # Inference took 20 steps on a robot that stood still: no row has been executed yet.
    controller.accept(along_x(make_chunk, [5] * 40), 20 * DT)
    assert controller.max_seam == 0.0
    assert controller.tick(21 * DT).position[0] == pytest.approx(X + 0.005, abs=1e-7)


def test_time_in_which_chunks_had_run_out_is_not_skipped(make_controller, make_chunk, exact):
    controller = make_controller(exact)
    controller.accept(along_x(make_chunk, [5] * 6), 0.0)
    tick(controller, 10)
    # Observed at step 2; 4 steps moved the robot, then it waited for 4.
    controller.accept(along_x(make_chunk, [5] * 40, 2 * DT, 2), 10 * DT)
    assert controller.tick(11 * DT).position[0] == pytest.approx(X + 0.035, abs=1e-5)


def test_history_interpolates_and_forgets():
    history = History(0.05, np.array([0.0]), 1.0)
    for step in range(1, 101):
        history.append(np.array([float(step)]), 1.0 + step * 0.01, float(step <= 98))
    assert history.position(1.955)[0] == pytest.approx(95.5)
    assert history.position(3.0)[0] == 100.0
    assert history.position(0.0)[0] == pytest.approx(94.0, abs=1.0)
    assert history.clock(1.995, 0.0) == pytest.approx(1.98)
    assert history.clock(2.5, 0.0) == pytest.approx(1.98)
    assert history.clock(2.5, 0.5) == pytest.approx(2.23)


def test_a_clock_goes_on_by_what_is_skipped():
    history = History(1.0, np.array([0.0]), 1.0)
    history.append(np.array([0.0]), 1.02, 1.0)
    history.skip(0.3)
    assert history.clock(1.02, 0.0) == pytest.approx(1.32)
    assert history.clock(1.04, 0.5) == pytest.approx(1.33)
    history.append(np.array([0.0]), 1.04, 0.5)
    assert history.clock(1.04, 0.0) == pytest.approx(1.33)
