# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Notice within a tenth of a second that a process of the graph died.

The nodes between camera and chunk offer the topic ``alive`` with a liveliness lease, which the
middleware renews from a thread of its own, also while Python computes. Nothing is ever published
on it. Whoever moves the robot watches how many publishers are alive.
"""

import threading
from typing import Any

import rclpy
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Empty

from efficient_vla.nodes.base.qos import alive_qos

TOPIC = 'alive'
CLOSE_TIMEOUT_S = 1.0


def offer_liveliness(node: Node) -> None:
    """Let others notice when the process of ``node`` dies."""
    node.create_publisher(Empty, TOPIC, alive_qos())


class LivelinessWatch:
    """Counts the living on a thread of its own: the EventsExecutor of rclpy hears no such events.

    Nodes of the own process are not counted; they die with whoever watches. A middleware without
    liveliness events lets everybody live for ever; the age of chunks then is what notices a death.
    """

    def __init__(self, node: Node) -> None:
        self.alive = 0
        self._expected = 0
        self._clock = node.get_clock()
        self._node = rclpy.create_node(
            f'_{node.get_name()}_liveliness',
            context=node.context,
            namespace=node.get_namespace(),
            enable_rosout=False,
            start_parameter_services=False,
            # `ros2 launch` renames by `-r __node:=controller`, which would rename this one too.
            use_global_arguments=False,
        )
        try:
            self._node.create_subscription(
                Empty,
                TOPIC,
                lambda _: None,
                alive_qos(),
                event_callbacks=SubscriptionEventCallbacks(liveliness=self._changed),
            )
        except UnsupportedEventTypeError:
            node.get_logger().warning(
                'this middleware reports no liveliness; a killed node is noticed by the age of '
                'its last chunk.'
            )
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name='liveliness', daemon=True)
        self._thread.start()

    def expect_the_living(self) -> None:
        """Forget the dead: from now on the graph is complete as it is."""
        self._expected = self.alive

    def missing(self) -> int:
        """Return how many nodes died since the graph was last complete.

        Nobody is missed in simulated time: a lease is wall-clock time, and a simulation that
        steps in lockstep stands still by itself when a node dies.
        """
        if self._clock.ros_time_is_active:
            return 0
        self._expected = max(self._expected, self.alive)
        return self._expected - self.alive

    def close(self) -> None:
        """Stop watching."""
        self._executor.shutdown()
        self._thread.join(CLOSE_TIMEOUT_S)
        self._node.destroy_node()

    def _changed(self, status: Any) -> None:
        self.alive = status.alive_count

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return
