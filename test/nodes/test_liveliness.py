# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A node that feeds the controller is missed until it lives again or nobody expects it."""

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
import sys
import rclpy
from rclpy.node import Node
from efficient_vla.nodes.base.liveliness import offer_liveliness
rclpy.init()
node = Node(sys.argv[1])
offer_liveliness(node)
rclpy.spin(node)
"""


@pytest.fixture
def start(ros_domain: int) -> Iterator[Callable[[str], 'subprocess.Popen[bytes]']]:
    processes: list[subprocess.Popen[bytes]] = []

    def started(name: str) -> 'subprocess.Popen[bytes]':
        processes.append(subprocess.Popen([sys.executable, '-c', STAGE, name]))
        return processes[-1]

    rclpy.init(args=[])
    try:
        yield started
    finally:
        rclpy.try_shutdown()
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def watch(start: object) -> Iterator[LivelinessWatch]:
    controller = Node('controller')
    watch = LivelinessWatch(controller, ('reasoner', 'actor'))
    try:
        yield watch
    finally:
        watch.close()
        controller.destroy_node()


def eventually(condition: Callable[[], bool], timeout: float = 40.0) -> bool:
    end = time.monotonic() + timeout
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_who_dies_is_missed_by_name_until_replaced_or_forgotten(start, watch):
    actor, reasoner = start('actor'), start('reasoner')
    assert eventually(lambda: watch.alive == {'reasoner': 1, 'actor': 1})
    assert watch.missing() == []
    actor.kill()
    assert eventually(lambda: watch.missing() == ['actor'], LEASE_AND_STALL_S)
    start('actor')
    assert eventually(lambda: watch.missing() == [])
    reasoner.kill()
    assert eventually(lambda: watch.missing() == ['reasoner'], LEASE_AND_STALL_S)
    watch.expect_the_living()
    assert watch.missing() == []


def test_nobody_misses_a_stranger_nor_a_twin_whose_brother_lives(start, watch):
    stranger, twin = start('stranger'), start('actor')
    start('actor')
    assert eventually(lambda: watch.alive['actor'] == 2)
    stranger.kill()
    twin.kill()
    assert eventually(lambda: watch.alive['actor'] == 1)
    assert watch.alive == {'reasoner': 0, 'actor': 1}
    assert watch.missing() == []
