# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the driver of an arm says back: the arm rests, or goes on as documented; nothing is lost."""

import numpy as np
import pytest
from nodes.arm import SPEED, Status
from nodes.driven_arm import HOME, DrivenArm
from std_srvs.srv import Trigger


@pytest.fixture
def arm(graph):
    return DrivenArm(graph)


def test_the_arm_follows_chunks_through_its_driver(arm):
    arm.moving()
    assert arm.state == Status.STATE_TRACKING
    assert arm.speed() == pytest.approx(SPEED, rel=0.05)
    arm.drive(0.5)
    assert arm.place[0] - HOME[0] == pytest.approx(HOME[1] - arm.place[1], abs=1e-6)
    ahead = arm.node._command - arm.place
    assert np.abs(ahead).max() < 4 * 0.01 * SPEED


def test_a_protective_stop_ends_motion_until_a_person_released_it(graph, arm):
    arm.moving()
    assert graph.call(Trigger, 'driver/protective_stop').success
    arm.drive(0.5)
    assert arm.state == Status.STATE_STOPPED
    assert 'robot_program_running says that the program' in arm.status[-1].reason
    assert arm.speed() == 0
    place = arm.place.copy()
    assert arm.reset_stop().success
    assert 'protective stop' in arm.enable().message
    assert graph.call(Trigger, 'dashboard_client/unlock_protective_stop').success
    assert graph.call(Trigger, 'io_and_status_controller/resend_robot_program').success
    arm.run(0.6)
    assert arm.place == pytest.approx(place, abs=1e-9)
    response = arm.enable()
    assert response.success, response.message
    count = len(arm.path)
    arm.drive(0.4)
    assert arm.speed() == pytest.approx(SPEED, rel=0.05)
    steps = np.abs(np.diff(arm.path[count - 1 :], axis=0))
    assert steps.max() < 2 * SPEED * 0.01, 'no leap'


def test_a_speed_slider_slows_motion_along_its_path(arm):
    arm.moving()
    arm.stand_in.program.speed = 0.3
    arm.drive(1.0)
    assert arm.state == Status.STATE_TRACKING
    assert arm.speed() == pytest.approx(0.3 * SPEED, rel=0.05)
    assert arm.status[-1].time_scale == pytest.approx(0.3, abs=0.01)
    assert np.abs(arm.node._command - arm.place).max() < 0.02
    arm.stand_in.program.speed = 1.0
    arm.drive(0.6)
    assert arm.speed() == pytest.approx(SPEED, rel=0.05)
    # Along the path: both joints have gone as far.
    assert arm.place[0] - HOME[0] == pytest.approx(HOME[1] - arm.place[1], abs=1e-6)
