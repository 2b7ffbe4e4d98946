# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The gripper takes the newest chunk's word: no averaging, no integration, no opening on hold."""

import numpy as np
import pytest

from efficient_vla.control.settings import BLENDING_METHODS


@pytest.mark.parametrize('method', BLENDING_METHODS)
def test_the_newest_chunk_alone_commands_the_gripper(make_controller, straight, run, method):
    controller = make_controller({'blending.method': method})
    controller.accept(straight((0.1, 0, 0), gripper=1.0), 0.0)
    assert (run(controller, 0.0, 0.1)[:, 3] == 1).all()
    controller.accept(straight((0.1, 0, 0), 0.05, 2, gripper=-1.0), 0.1)
    assert (run(controller, 0.1, 0.2)[:, 3] == -1).all()


@pytest.mark.parametrize('effort', [1.5, -1.1, 35.0])
def test_effort_outside_its_range_is_refused_and_the_gripper_stays(
    make_controller, straight, run, effort
):
    controller = make_controller()
    refused = controller.accept(straight((0, 0, 0), gripper=effort), 0.0)
    assert f'chunk has {effort:g} for the gripper' in refused
    assert 'from -1, open, to 1, closed' in refused
    assert (run(controller, 0.0, 0.1)[:, 3] == -1).all()


def test_effort_changes_at_the_row_that_says_so(make_controller, make_chunk):
    controller = make_controller({'rate': 80.0})
    rows = np.zeros((40, 4))
    rows[:3, 3], rows[3:, 3] = -1, 1
    controller.accept(make_chunk(rows), 0.0)
    efforts = [controller.tick(k * 0.0125).position[3] for k in range(1, 7)]
    assert efforts == [-1, -1, -1, 1, 1, 1]


def test_a_held_object_is_not_dropped_when_chunks_run_out(make_controller, straight, run):
    controller = make_controller()
    controller.accept(straight((0.1, 0, 0), gripper=1.0), 0.0)
    assert (run(controller, 0.0, 2.0)[:, 3] == 1).all()
    controller.stop(2.0)
    assert (run(controller, 2.0, 2.5)[:, 3] == 1).all()
    controller.disable(2.5)
    assert (run(controller, 2.5, 3.0)[:, 3] == 1).all()


def test_before_the_first_chunk_the_gripper_keeps_what_the_robot_reported(make_controller, run):
    controller = make_controller(start=(0.1, 0.6, 0.2, 0.5))
    assert (run(controller, 0.0, 0.1)[:, 3] == 0.5).all()


def test_a_robot_without_gripper_is_commanded_by_its_axes_alone(make_controller, make_chunk):
    controller = make_controller(names=('x', 'y'), start=(0.0, 0.0))
    chunk = make_chunk(np.full((40, 2), 0.001), names=('x', 'y'))
    assert controller.accept(chunk, 0.0) is None
    assert controller.tick(0.01).position.shape == (2,)
