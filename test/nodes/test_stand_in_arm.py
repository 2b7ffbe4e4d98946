# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""An arm that is known by its joints alone tells them, follows trajectories and shows itself."""

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from efficient_vla.nodes.base.conversions import joint_values, seconds_to_duration
from efficient_vla.nodes.base.pictures import pixels_of
from efficient_vla.nodes.base.qos import image_qos, newest_qos
from efficient_vla.nodes.robot.stand_in_arm import StandInArmNode, picture

NAMES = ('shoulder', 'elbow')


def test_joints_go_where_the_trajectory_leads_and_the_pictures_show_it(graph):
    topics = ['front/image_raw', 'wrist/image_raw/compressed']
    node = graph.add(StandInArmNode, names=list(NAMES), home=[0.5, -0.5], camera_topics=topics)
    states = graph.hear(JointState, 'joint_states', newest_qos())
    front = graph.hear(Image, topics[0], image_qos())
    wrist = graph.hear(CompressedImage, topics[1], image_qos())
    commands = graph.publisher(
        JointTrajectory, 'joint_trajectory_controller/joint_trajectory', newest_qos()
    )
    graph.until(lambda: all(p.get_subscription_count() for p in node._cameras.values()))
    graph.run(0.3)
    assert joint_values(states[-1], NAMES).tolist() == [0.5, -0.5]
    before = pixels_of(front[-1])
    point = JointTrajectoryPoint(positions=[0.7, 0.0], time_from_start=seconds_to_duration(0.5))
    commands.publish(JointTrajectory(joint_names=list(NAMES), points=[point]))
    graph.until(lambda: np.isfinite(node._driver.newest))
    graph.run(0.3)
    assert 0.5 < joint_values(states[-1], NAMES)[0] < 0.7
    graph.run(0.5)
    assert joint_values(states[-1], NAMES) == pytest.approx([0.7, 0.0], abs=1e-3)
    graph.until(lambda: not np.array_equal(pixels_of(front[-1]), before))
    assert np.array_equal(pixels_of(wrist[-1])[-1], pixels_of(front[-1])[-1])


def test_least_motion_that_counts_as_one_changes_the_picture():
    assert not np.array_equal(picture(np.array([0.3, 0.0])), picture(np.array([0.32, 0.0])))
