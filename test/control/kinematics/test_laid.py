# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A path that was laid out beside the loop is followed only where it would be the same now."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from control.kinematics import arms
from control.kinematics.test_with_controller import start, tools

from efficient_vla.control.controller import Controller
from efficient_vla.control.laid import Laid

WAY = np.array([0.004, -0.003, -0.002])


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    found = start(tmp_path)
    assert found.accept(arms.rows_of(np.tile(WAY, (40, 1)), dt=0.04), 0.0) is None
    tools(found, 0.5)
    return found


def laid(controller: Controller) -> Laid:
    """Return a chunk that was observed before now and is examined now."""
    chunk = replace(
        arms.rows_of(np.tile(WAY, (40, 1)), dt=0.04), stamp=0.4, plan_stamp=0.4, sequence=2
    )
    examine = controller.examine(chunk, 0.5)
    assert examine is not None
    found = examine()
    assert found.trajectory is not None
    return found


def test_it_is_followed_as_it_is_while_the_robot_goes_on(controller: Controller) -> None:
    told = laid(controller)
    tools(controller, 0.6, 0.5)
    assert controller.accept(told, 0.6) is None
    assert controller._newest is told.trajectory
    assert controller._path_limits is told.limits
    anew = replace(told, trajectory=None)
    assert np.array_equal(
        controller._anchored(anew, 0.6, controller._history)[0].knots, told.trajectory.knots
    )


def test_other_limits_lay_it_out_anew(controller: Controller) -> None:
    told = laid(controller)
    limits = replace(controller.settings.limits, max_velocity=(0.05,))
    controller.configure(replace(controller.settings, limits=limits))
    assert controller.accept(told, 0.5) is None
    assert controller._newest is not told.trajectory
    fastest = controller._path_limits.at(controller._newest.start, 0.0)[0]
    assert fastest < 0.5 * told.limits.at(told.trajectory.start, 0.0)[0]


def test_a_set_point_that_was_taken_elsewhere_lays_it_out_anew(controller: Controller) -> None:
    told = laid(controller)
    place = np.append(arms.UR5E_HOME + 0.1, -1.0)
    controller.reset(place, 0.3)
    controller.tick(0.5)
    assert controller.accept(told, 0.5) is None
    assert controller._newest is not told.trajectory
    np.testing.assert_allclose(controller._newest.anchor, place[:6])
