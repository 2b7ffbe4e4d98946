# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Who dies is missed until as many live again, or until nobody expects it."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.node import Node

from efficient_vla.nodes.base.liveliness import LivelinessWatch

LEASE_AND_STALL_S = 2.0
"""A lease is 0.1 s; a machine that runs many tests at once may stall."""
STAGE = """
import rclpy
from rclpy.node import Node
from efficient_vla.nodes.base.liveliness import offer_liveliness
rclpy.init()
node = Node('stage')
offer_liveliness(node)
rclpy.spin(node)
"""


@pytest.fixture
def stages(ros_domain: int) -> Iterator[list['subprocess.Popen[bytes]']]:
    processes = [subprocess.Popen([sys.executable, '-c', STAGE]) for _ in range(2)]
    rclpy.init(args=[])
    try:
        yield processes
    finally:
        rclpy.try_shutdown()
        for process in processes:
            process.kill()
            process.wait()


def eventually(condition: Callable[[], bool], timeout: float = 40.0) -> bool:
    end = time.monotonic() + timeout
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_who_dies_is_missed_until_replaced_or_forgotten(stages):
    controller = Node('controller')
    watch = LivelinessWatch(controller)
    try:
        assert eventually(lambda: watch.alive == 2)
        assert watch.missing() == 0
        stages[0].kill()
        assert eventually(lambda: watch.missing() == 1, LEASE_AND_STALL_S)
        stages.append(subprocess.Popen([sys.executable, '-c', STAGE]))
        assert eventually(lambda: watch.missing() == 0)
        stages[1].kill()
        assert eventually(lambda: watch.missing() == 1, LEASE_AND_STALL_S)
        watch.expect_the_living()
        assert watch.missing() == 0
    finally:
        watch.close()
        controller.destroy_node()
