# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Notice within a tenth of a second that a process of the graph died.

The nodes between camera and chunk offer the topic ``~/alive`` with a liveliness lease, which the
middleware renews from a thread of its own, also while Python computes. Nothing is ever published
on it. Whoever moves the robot watches the nodes that it needs, each on its own topic: nobody else
can stop it by dying.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.node import Node
from std_msgs.msg import Empty

from efficient_vla.nodes.base.onlooker import Onlooker
from efficient_vla.nodes.base.qos import alive_qos

TOPIC = 'alive'


def offer_liveliness(node: Node) -> None:
    """Let others notice when the process of ``node`` dies."""
    node.create_publisher(Empty, f'~/{TOPIC}', alive_qos())


class LivelinessWatch(Onlooker):
    """Watches ``names`` on a thread of its own: the EventsExecutor of rclpy hears no such events.

    Nodes of the own process are not counted; they die with whoever watches. A middleware without
    liveliness events lets everybody live for ever; the age of chunks then is what notices a death.
    """

    def __init__(self, node: Node, names: Iterable[str]) -> None:
        self.alive = dict.fromkeys(names, 0)
        """Node -> how many of that name live."""
        self._expected: set[str] = set()
        self._clock = node.get_clock()
        name = f'_{node.get_name()}_liveliness'
        super().__init__(name, node.get_namespace(), node.context)
        try:
            for name in self.alive:
                self.node.create_subscription(
                    Empty,
                    f'{name}/{TOPIC}',
                    lambda _: None,
                    alive_qos(),
                    event_callbacks=SubscriptionEventCallbacks(
                        liveliness=partial(self._changed, name)
                    ),
                )
        except UnsupportedEventTypeError:
            node.get_logger().warning(
                'this middleware reports no liveliness; a killed node is noticed by the age of '
                'its last chunk.'
            )
        self.start()

    def expect_the_living(self) -> None:
        """Forget the dead: from now on the graph is complete as it is."""
        self._expected = {name for name, count in self.alive.items() if count}

    def missing(self) -> list[str]:
        """Return the nodes that lived since the graph was last complete, and do not live now.

        Nobody is missed in simulated time: a lease is wall-clock time, and a simulation that
        steps in lockstep stands still by itself when a node dies.
        """
        if self._clock.ros_time_is_active:
            return []
        self._expected |= {name for name, count in self.alive.items() if count}
        return [name for name in self.alive if name in self._expected and not self.alive[name]]

    def _changed(self, name: str, status: Any) -> None:
        self.alive[name] = status.alive_count
