# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Before anything starts it is told which topics and joints come, and what is missing."""

from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatusArray
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from efficient_vla.bringup.check import Result
from efficient_vla.bringup.graph import Selection, describe
from efficient_vla.cli.new_robot import profile
from efficient_vla.nodes.base.conversions import array_to_image, joint_state
from efficient_vla.nodes.base.qos import image_qos, newest_qos, state_qos
from efficient_vla.nodes.client.topic_check import check_topics

URDF = Path(__file__).resolve().parents[1] / 'fixtures' / 'xarm6' / 'xarm6.urdf'
JOINTS = [f'joint{number}' for number in range(1, 7)]
TURNS = 40
CAMERA = '/camera/color/image_raw'


@pytest.fixture
def xarm6(tmp_path):
    path = tmp_path / 'xarm6.yaml'
    path.write_text(profile(URDF, 'arm'))
    return describe(Selection(robot=str(path), policy='first_motion'))


class Drivers:
    """Publishers of an arm, a gripper and a camera."""

    def __init__(self, graph, joints):
        self.graph, self.joints = graph, joints
        make = graph.peer.create_publisher
        self.states = make(JointState, '/joint_states', state_qos())
        self.images = make(Image, CAMERA, image_qos())

    def publish(self, seconds):
        """Publish as often as the graph needs to hear it, by the clock of the system."""
        pixels = np.zeros((24, 32, 3), np.uint8)
        self.graph.until(self.states.get_subscription_count)
        if self.images.topic_name == CAMERA:
            self.graph.until(self.images.get_subscription_count)
        for _ in range(TURNS):
            now = self.graph.peer.get_clock().now().nanoseconds * 1e-9
            self.states.publish(joint_state(self.joints, np.zeros(len(self.joints)), now))
            self.images.publish(array_to_image(pixels, now))
            self.graph.executor.spin_once(timeout_sec=0.02)


def told(checks):
    return {check.name: check for check in checks}


def test_all_that_comes_is_told(graph, xarm6):
    drivers = Drivers(graph, [*JOINTS, 'finger'])
    graph.peer.create_subscription(
        JointTrajectory, '/arm/joint_trajectory', lambda _: None, newest_qos()
    )
    found = told(check_topics(xarm6, 1.0, drivers.publish))
    assert {check.result for check in found.values()} == {Result.OK}, found
    assert found['robot_state'].detail.startswith('/joint_states: joint1, joint2, joint3, joint4')
    assert found['robot_state'].detail.endswith('Hz; others: finger')
    assert found['camera'].detail.startswith('/camera/color/image_raw: Image of 32x24 at ')
    assert found['output'].detail == '/arm/joint_trajectory: heard by peer'


def test_actions_of_the_driver_are_looked_for_too(graph, tmp_path):
    path = tmp_path / 'xarm6.yaml'
    path.write_text(profile(URDF, 'arm'))
    output = {'controller.output': 'follow_joint_trajectory'}
    chosen = describe(Selection(robot=str(path), policy='first_motion', overrides=output))
    graph.peer.create_publisher(
        GoalStatusArray, '/arm/follow_joint_trajectory/_action/status', newest_qos()
    )
    found = told(check_topics(chosen, 1.0, Drivers(graph, JOINTS).publish))
    assert found['output'].detail == '/arm/follow_joint_trajectory: offered by peer'


def test_joints_that_do_not_come_are_named_and_a_camera_that_is_not_there(graph, xarm6):
    drivers = Drivers(graph, [*JOINTS[:4], 'elbow'])
    graph.peer.destroy_publisher(drivers.images)
    drivers.images = graph.peer.create_publisher(Image, '/cam/image', image_qos())
    found = told(check_topics(xarm6, 1.0, drivers.publish))
    assert found['robot_state'].result is Result.FAIL
    assert 'others: elbow; missing: joint5, joint6' in found['robot_state'].detail
    assert found['camera'].result is Result.FAIL
    assert '/camera/color/image_raw' in found['camera'].detail
    assert found['output'].result is Result.WARN
