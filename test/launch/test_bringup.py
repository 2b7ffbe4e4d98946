# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The launch files for real, wherever ROS 2 launch is installed; PyPI has no wheels of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

REASON = 'ROS 2 launch is not installed; where ROS 2 is: apt install ros-$ROS_DISTRO-launch-pytest'
pytest.importorskip('launch_ros', reason=REASON)
launch_pytest = pytest.importorskip('launch_pytest', reason=REASON)

import rclpy  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from launch_pytest.actions import ReadyToTest  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.signals import SignalHandlerOptions  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from efficient_vla.bringup.catalogue import NODES  # noqa: E402
from efficient_vla.nodes.base import qos  # noqa: E402
from efficient_vla.nodes.client.state_watch import StateWatch  # noqa: E402
from launch import LaunchDescription  # noqa: E402

FOLDER = Path(__file__).resolve().parents[2] / 'launch'
START_TIMEOUT_S = 60.0


def included(name: str, **arguments: str) -> LaunchDescription:
    """Return a description that includes one of our launch files."""
    source = PythonLaunchDescriptionSource(str(FOLDER / f'{name}.launch.py'))
    include = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    return LaunchDescription([include, ReadyToTest()])


@launch_pytest.fixture
def bringup(ros_domain: int) -> LaunchDescription:
    return included(
        'bringup',
        policy='passthrough',
        namespace='left',
        overrides='metaworld_robot.camera.size=64',
    )


@launch_pytest.fixture
def sim(ros_domain: int) -> LaunchDescription:
    return included(
        'sim', policy='passthrough', mode='lockstep', overrides='metaworld_robot.camera.size=64'
    )


@pytest.mark.launch(fixture=bringup)
def test_bringup_makes_all_nodes_active(ros_domain: int) -> Iterator[None]:
    wait_active('left')
    yield
    assert_no_state_left('left')


@pytest.mark.launch(fixture=sim)
def test_sim_shows_images(ros_domain: int) -> Iterator[None]:
    wait_active('')
    wait_image()
    yield
    assert_no_state_left('')


def wait_active(namespace: str) -> None:
    """Wait until every node of the graph says that it is active."""
    watch = StateWatch(NODES, namespace)
    try:
        assert watch.wait(lambda states: set(states.values()) == {'active'}, START_TIMEOUT_S), (
            f'not all are active: {watch.states()}'
        )
    finally:
        watch.close()


def assert_no_state_left(namespace: str) -> None:
    """Check that no node answers any more after the launch has shut down."""
    watch = StateWatch(NODES, namespace)
    try:
        assert watch.wait(lambda states: set(states.values()) == {'-'}, START_TIMEOUT_S)
    finally:
        watch.close()


def wait_image() -> None:
    """Wait for one camera image."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('launch_test', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    images: list[Image] = []
    node.create_subscription(Image, 'camera/image_raw', images.append, qos.image_qos())
    end = node.get_clock().now().nanoseconds + START_TIMEOUT_S * 1e9
    try:
        while not images:
            assert node.get_clock().now().nanoseconds < end, 'no image came'
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
