# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whose messages count: one publisher of a topic, and one robot driver."""

import math
from time import monotonic
from typing import Any

from efficient_vla.nodes.base.bounded import FORGIVEN_S, publisher_name

DRIVER_S = 1.0
"""Two drivers that both reported within this time are two at once."""
SOURCE_S = 2.0
"""A camera or perception that was silent for so long may be replaced by another one."""
ASKED_S = 1.0
"""So often the graph is asked whether a publisher is still there."""
ENABLE_ANEW = '; to take the other, disable and enable the controller by set_enabled'


class OneSource:
    """The one publisher whose messages are taken, ``what`` in words.

    It is the first whose message was taken, since ``forget``. Another one is taken once that one is
    gone, or has been silent for so long that what it sent no longer holds: a node that was killed
    stays in the graph for a while. Two in turn would be two scenes, or two wills, for one robot.
    """

    def __init__(self, node: Any, topic: str, what: str, also: str = ', or remap it') -> None:
        self._node = node
        self._topic = topic
        self._what = what
        self._also = also
        self._turned_away = -math.inf
        self._publisher = b''
        self._heard = -math.inf
        self._refused: dict[bytes, tuple[str, float]] = {}

    def forget(self) -> None:
        """Take whoever comes first from now on."""
        self._publisher, self._refused = b'', {}

    def refuse(self, publisher: bytes, now: float, timeout: float) -> str | None:
        """Return why a message of ``publisher`` must not be taken, or ``None``."""
        if not self._publisher or publisher == self._publisher:
            return None
        if not 0 <= now - self._heard <= timeout:
            return None
        reason, asked = self._refused.get(publisher, ('', -math.inf))
        if not 0 <= now - asked < ASKED_S:
            # A node that was killed leaves the graph only after a while.
            reason = self._reason(publisher)
            recent = {who: why for who, why in self._refused.items() if now - why[1] < ASKED_S}
            self._refused = {**recent, publisher: (reason, now)}
        return reason or None

    def drives(self, publisher: bytes, now: float) -> None:
        """Take note that a message of ``publisher`` was taken."""
        if self._publisher and publisher != self._publisher:
            who = publisher_name(self._node, self._topic, publisher)
            self._node.get_logger().warning(f'{self._what} come from {who} from now on')
            self._refused = {}
        self._publisher, self._heard = publisher, now

    def admit(self, info: Any, now: float, timeout: float) -> bool:
        """Return whether to take the message with this ``info`` of rclpy, and warn where not."""
        publisher, rule = info['publisher_gid']['data'], f'{self._topic}_source'
        refused = self.refuse(publisher, now, timeout)
        if refused:
            self._turned_away = monotonic()
            self._node.health.warn(rule, refused)
            return False
        if monotonic() > self._turned_away + FORGIVEN_S:
            self._node.health.clear(rule)
        self.drives(publisher, now)
        return True

    def _reason(self, publisher: bytes) -> str:
        mine = publisher_name(self._node, self._topic, self._publisher)
        if mine.startswith('an unknown'):
            return ''
        other = publisher_name(self._node, self._topic, publisher)
        count = len(self._node.get_publishers_info_by_topic(self._topic))
        return (
            f'{self._what} came from {other} while those of {mine} are taken; expected one '
            f'publisher on {self._topic}, which has {count}. End one of them{self._also}.'
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
