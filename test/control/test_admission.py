# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Each kind of bad chunk is rejected with its reason and moves nothing."""

import numpy as np
import pytest

from efficient_vla.types import ControlMode, InvalidRecordError

MOVE = (0.1, 0.0, 0.0)


def assert_rejected(controller, chunk, now, words):
    rejected = controller.rejected
    reason = controller.accept(chunk, now)
    assert reason is not None
    assert words in reason
    assert controller.rejected == rejected + 1
    before = controller.tick(now + 0.01).position
    np.testing.assert_array_equal(before, controller.tick(now + 0.02).position)


def test_rows_that_are_not_finite_never_become_a_chunk(make_chunk):
    rows = np.zeros((4, 4))
    rows[2, 1] = np.nan
    with pytest.raises(InvalidRecordError, match='not finite'):
        make_chunk(rows)


def test_a_chunk_without_rows_never_becomes_one(make_chunk):
    with pytest.raises(InvalidRecordError, match='H > 0'):
        make_chunk(np.zeros((0, 4)))


def test_wrong_width(make_controller, make_chunk):
    chunk = make_chunk(np.zeros((4, 3)), names=('x', 'y', 'z'))
    assert_rejected(make_controller(), chunk, 0.0, 'expected x, y, z, gripper')


def test_wrong_order_of_columns(make_controller, make_chunk):
    chunk = make_chunk(np.zeros((4, 4)), names=('y', 'x', 'z', 'gripper'))
    assert_rejected(make_controller(), chunk, 0.0, 'columns y, x, z, gripper')


def test_joint_rows_for_an_end_effector(make_controller, make_chunk):
    chunk = make_chunk(np.zeros((4, 4)), mode=ControlMode.JOINT_POSITION)
    assert_rejected(make_controller(), chunk, 0.0, 'expected an EE mode')


def test_end_effector_rows_for_joints(make_controller, make_chunk):
    controller = make_controller(names=('a', 'b'), start=(0.0, 0.0))
    chunk = make_chunk(np.zeros((4, 2)), names=('a', 'b'))
    assert_rejected(controller, chunk, 0.0, 'expected a JOINT mode')


def test_a_stamp_too_far_in_the_future(make_controller, straight):
    assert_rejected(make_controller(), straight(MOVE, 0.06), 0.0, 'in the future')


@pytest.mark.parametrize('ahead', [0.06, 1e6, np.inf, np.nan])
def test_a_plan_too_far_in_the_future_is_refused_since_its_validity_would_be_void(
    make_controller, straight, ahead
):
    controller = make_controller()
    controller.tick(2.0)
    chunk = straight(MOVE, 2.0, plan_stamp=2.0 + ahead, plan_valid_for=0.3)
    assert_rejected(controller, chunk, 2.0, 'plan is stamped')
    chunk = straight(MOVE, 2.03, 2, plan_stamp=2.07, plan_valid_for=0.3)
    assert controller.accept(chunk, 2.03) is None


def test_a_stamp_slightly_ahead_counts_as_now(make_controller, straight):
    controller = make_controller()
    assert controller.accept(straight(MOVE, 0.04), 0.0) is None
    controller.tick(0.01)
    assert controller.tick(0.02).position[0] > 0.1


@pytest.mark.parametrize('stamp', [np.nan, np.inf, -np.inf])
def test_a_stamp_that_is_no_time(make_controller, straight, stamp):
    assert_rejected(make_controller(), straight(MOVE, stamp), 0.0, 'finite seconds')


@pytest.mark.parametrize('dt', [1e-300, 1e-9, 4e-4, 61.0, 1e300, np.inf])
def test_rows_of_no_sensible_duration(make_controller, make_chunk, dt):
    chunk = make_chunk([[0.0] * 4] * 3, dt=dt)
    assert_rejected(make_controller(), chunk, 0.0, r'expected 0.0005 to 60.0 s a row')


def test_the_same_chunk_a_thousand_times_is_one(make_controller, straight, run):
    controller = make_controller({'blending.method': 'temporal_ensemble'})
    assert controller.accept(straight(MOVE), 0.0) is None
    answers = {controller.accept(straight(MOVE), 0.0) for _ in range(1000)}
    assert answers == {'chunk 1 came before; expected each chunk once.'}
    assert controller.rejected == 1000
    assert len(controller._blending._live) == 1


def test_nothing_left_to_execute(make_controller, straight, run):
    controller = make_controller()
    controller.accept(straight(MOVE, 0.0), 0.0)
    run(controller, 0.0, 0.3)
    assert 'nothing left' in controller.accept(straight(MOVE, 0.0, 2, rows=20), 0.3)
    assert controller.rejected == 1
    assert controller.report(0.3).chunk_sequence == 1


def test_a_robot_that_stood_still_has_the_whole_chunk_left(make_controller, straight, run):
    controller = make_controller()
    run(controller, 0.0, 0.3)
    assert controller.accept(straight(MOVE, 0.0, rows=20), 0.3) is None
    assert run(controller, 0.3, 0.5)[-1, 0] > 0.02


def test_an_observation_older_than_the_watchdog_allows(make_controller, straight, run):
    controller = make_controller({'watchdog.chunk_timeout': 0.2})
    run(controller, 0.0, 0.3)
    assert_rejected(controller, straight(MOVE, 0.05), 0.3, 'watchdog.chunk_timeout 0.2 s')


def test_an_observation_from_before_the_reset(make_controller, straight):
    controller = make_controller()
    controller.tick(0.3)
    controller.reset(np.array([0.0, 0.6, 0.2, 0.0]), 0.35)
    assert_rejected(controller, straight(MOVE, 0.3), 0.4, 'before the last reset')


def test_an_expired_plan(make_controller, straight, run):
    controller = make_controller()
    run(controller, 0.0, 2.0)
    plan = {'plan_stamp': 0.5, 'plan_sequence': 7}
    chunk = straight(MOVE, 1.95, plan_valid_for=1.0, **plan)
    assert_rejected(controller, chunk, 2.0, 'plan 7 is 1.500 s old')
    assert controller.accept(straight(MOVE, 1.95, plan_valid_for=2.0, **plan), 2.02) is None


@pytest.mark.parametrize(
    ('stamp', 'sequence', 'words'),
    [(0.05, 4, 'chunk 4 is older than chunk 5'), (0.02, 6, 'was observed 0.030 s before')],
)
def test_chunks_out_of_order_do_not_replace_the_active_one(
    make_controller, straight, stamp, sequence, words
):
    controller = make_controller()
    assert controller.accept(straight(MOVE, 0.05, 5), 0.05) is None
    controller.tick(0.06)
    reason = controller.accept(straight((-0.1, 0, 0), stamp, sequence), 0.07)
    assert reason is not None
    assert words in reason
    assert controller.tick(0.1).velocity[0] > 0


def test_a_restarted_actor_counts_from_the_start_once_its_chunks_ran_out(
    make_controller, straight, run
):
    controller = make_controller()
    assert controller.accept(straight(MOVE, 0.0, 50), 0.0) is None
    run(controller, 0.0, 0.6)
    assert controller.accept(straight(MOVE, 0.55, 1), 0.6) is None


def test_a_disabled_controller_ignores_chunks_without_counting_them(make_controller, straight):
    controller = make_controller()
    controller.disable(0.0)
    reason = controller.accept(straight(MOVE), 0.0)
    assert reason == 'controller is disabled; chunk ignored.'
    assert controller.rejected == 0


def test_a_rejected_chunk_leaves_the_active_one_alone(make_controller, straight):
    controller = make_controller()
    controller.accept(straight(MOVE, 0.0, 1), 0.0)
    controller.tick(0.01)
    controller.accept(straight((-0.5, 0, 0), 9.0, 2), 0.01)
    assert controller.tick(0.05).velocity[0] > 0
    assert controller.report(0.05).chunk_sequence == 1


def test_a_chunk_too_long_to_lay_out_in_time(make_controller, straight):
    assert_rejected(make_controller(), straight(MOVE, rows=513), 0.0, 'expected at most 512')
