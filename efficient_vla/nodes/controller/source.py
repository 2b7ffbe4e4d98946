# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whose messages count: one publisher of chunks, and one robot driver."""

import math
from typing import Any

from efficient_vla.nodes.base.bounded import publisher_name

DRIVER_S = 1.0
"""Two drivers that both reported within this time are two at once."""


class ChunkSource:
    """The one publisher whose chunks drive the robot.

    It is the first whose chunk was accepted since the controller was enabled. Another one is
    accepted once that one is gone, or has been silent for so long that its chunks no longer drive
    the robot: an actor that was killed stays in the graph for a while.
    """

    def __init__(self, node: Any, topic: str) -> None:
        self._node = node
        self._topic = topic
        self._publisher = b''
        self._heard = -math.inf
        self._refused: dict[bytes, str] = {}

    def forget(self) -> None:
        """Take whoever comes first from now on."""
        self._publisher, self._refused = b'', {}

    def refuse(self, publisher: bytes, now: float, timeout: float) -> str | None:
        """Return why a chunk of ``publisher`` must not drive the robot, or ``None``."""
        if not self._publisher or publisher == self._publisher:
            return None
        if not 0 <= now - self._heard <= timeout:
            return None
        if publisher not in self._refused:
            # The graph is asked once for each of them, and once more where one was gone.
            self._refused = {publisher: self._reason(publisher)}
        return self._refused[publisher] or None

    def drives(self, publisher: bytes, now: float) -> None:
        """Take note that a chunk of ``publisher`` was accepted."""
        if self._publisher and publisher != self._publisher:
            who = publisher_name(self._node, self._topic, publisher)
            self._node.get_logger().warning(f'chunks come from {who} from now on')
            self._refused = {}
        self._publisher, self._heard = publisher, now

    def _reason(self, publisher: bytes) -> str:
        mine = publisher_name(self._node, self._topic, self._publisher)
        if mine.startswith('an unknown'):
            return ''
        other = publisher_name(self._node, self._topic, publisher)
        return (
            f'chunk came from {other} while {mine} drives the robot; expected one publisher on '
            f'{self._topic}. End one of them; to take the other, disable and enable the controller '
            'by set_enabled.'
        )


class DriverWatch:
    """Notices two drivers that report the state of the same robot."""

    def __init__(self, node: Any, topic: str) -> None:
        self._node = node
        self._topic = topic
        self._other: tuple[bytes, float] = (b'', -math.inf)
        self._newest: tuple[bytes, float] = (b'', -math.inf)

    def note(self, publisher: bytes, now: float) -> None:
        """Take note of a complete state; warns where another driver sent one just before."""
        if publisher != self._newest[0]:
            self._other = self._newest
        self._newest = (publisher, now)
        health = self._node.health
        if not 0 <= now - self._other[1] <= DRIVER_S:
            health.clear('robot_state_source')
        elif not health.message('robot_state_source'):
            first, second = (
                publisher_name(self._node, self._topic, found)
                for found in (self._other[0], publisher)
            )
            health.warn(
                'robot_state_source',
                f'{first} and {second} both report the state of this robot on {self._topic}; '
                'expected one driver. End one of them, or give it a namespace.',
            )
