# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A graph in one process, whose clock the test sets and whose neighbours the test plays."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from fixtures.policies import write_policy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time

from efficient_vla.nodes.base.conversions import array_to_image, joint_state

START = 100.0
STATE_NAMES = ('x', 'y', 'z', 'gripper', 'setpoint_x', 'setpoint_y', 'setpoint_z')


class Graph:
    """Nodes under test on one executor, a peer that plays their neighbours, and their clock."""

    def __init__(self, policy: Path) -> None:
        self.policy = policy
        self.now = START
        self.executor = SingleThreadedExecutor()
        self.peer = Node('peer', start_parameter_services=False)
        self.executor.add_node(self.peer)
        self.nodes: list[Any] = []
        self.heard: dict[str, list[Any]] = defaultdict(list)

    def add(self, kind: Callable[..., Any], start: bool = True, **values: Any) -> Any:
        """Make a node with these parameters (__ for a dot), on the clock of the test."""
        if kind.__name__ in ('PerceptionNode', 'ReasonerNode', 'ActorNode'):
            values.setdefault('policy', str(self.policy))
        overrides = [Parameter(k.replace('__', '.'), value=v) for k, v in values.items()]
        node = kind(parameter_overrides=[*overrides, Parameter('use_sim_time', value=True)])
        node.get_clock().set_ros_time_override(Time(nanoseconds=round(self.now * 1e9)))
        self.nodes.append(node)
        self.executor.add_node(node)
        if start:
            assert node.autostart(), node.health.status('', {}).message
        return node

    def remove(self, node: Any) -> None:
        """End a node, as if its process had ended."""
        node.end()
        self.nodes.remove(node)
        self.executor.remove_node(node)
        node.destroy_node()

    def set_time(self, now: float) -> None:
        """Set the clock of all nodes."""
        self.now = now
        for node in self.nodes:
            node.get_clock().set_ros_time_override(Time(nanoseconds=round(now * 1e9)))

    def run(
        self, seconds: float, step: float = 0.01, each: Callable[[], None] | None = None
    ) -> None:
        """Let the clock run; ``each`` is called at every step."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.set_time(self.now + step)
            if each is not None:
                each()
            self.settle(events=6)

    def settle(self, events: int = 30) -> None:
        """Handle what is ready, on the executor and on the workers."""
        for _ in range(events):
            self.executor.spin_once(timeout_sec=0.0)
        for node in self.nodes:
            if hasattr(node, 'wait_idle'):
                assert node.wait_idle(5.0)

    def until(self, condition: Callable[[], Any], timeout: float = 40.0) -> None:
        """Spin until ``condition`` holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, 'condition did not come true'
            self.executor.spin_once(timeout_sec=0.05)

    def hear(self, kind: type, topic: str, qos: Any) -> list[Any]:
        """Return the list that collects the messages of a topic."""
        self.peer.create_subscription(kind, topic, self.heard[topic].append, qos)
        return self.heard[topic]

    def publisher(self, kind: type, topic: str, qos: Any) -> Any:
        """Return a publisher that the nodes under test are connected to."""
        publisher = self.peer.create_publisher(kind, topic, qos)
        self.until(lambda: publisher.get_subscription_count() > 0)
        return publisher

    def call(self, kind: type, service: str, **fields: Any) -> Any:
        """Call a service and return its response."""
        client = self.peer.create_client(kind, service)
        self.until(client.service_is_ready)
        future = client.call_async(kind.Request(**fields))
        self.until(future.done)
        return future.result()

    def image(self, value: int = 100, stamp: float | None = None, side: int = 32) -> Any:
        """Return a camera image of one brightness."""
        pixels = np.full((side, side, 3), value, np.uint8)
        return array_to_image(pixels, self.now if stamp is None else stamp, 'camera')

    def state(self, position: Any = (0.0, 0.6, 0.2), stamp: float | None = None) -> Any:
        """Return the state of a robot that stands still at ``position``."""
        values = np.array([*position, 1.0, *position])
        return joint_state(STATE_NAMES, values, self.now if stamp is None else stamp)

    def close(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.end()
        # Results of actions that ended with their node still go out.
        self.settle()
        for node in [*self.nodes, self.peer]:
            self.executor.remove_node(node)
            node.destroy_node()
        self.executor.shutdown()


class Held:
    """A method whose calls wait until ``go`` is set; ``begun`` says that one waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        method = getattr(owner, name)

        def slow(*arguments: Any) -> Any:
            self.begun.set()
            assert self.go.wait(20.0)
            return method(*arguments)

        monkeypatch.setattr(owner, name, slow)


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], Held]:
    """Hold the calls of a method, for example a pass of a stage."""
    return lambda owner, name: Held(monkeypatch, owner, name)


@pytest.fixture(scope='session')
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a pass-through policy that moves along y at 0.1 m/s."""
    return write_policy(tmp_path_factory.mktemp('policy'), velocity=(0.0, 0.1, 0.0))


@pytest.fixture
def graph(ros_domain: int, policy: Path) -> Iterator[Graph]:
    rclpy.init(args=[])
    try:
        graph = Graph(policy)
        try:
            yield graph
        finally:
            graph.close()
    finally:
        rclpy.shutdown()
