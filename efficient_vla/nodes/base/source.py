# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whose messages count: one publisher of a topic, and one robot driver."""

import math
from collections.abc import Iterable
from time import monotonic
from typing import Any

from efficient_vla.nodes.base.bounded import FORGIVEN_S, publisher_name, publisher_node

DRIVER_S = 1.0
"""Two drivers that both reported within this time are two at once."""
SOURCE_S = 2.0
"""A camera or perception that was silent for so long may be replaced by another one."""
ASKED_S = 1.0
"""So often the graph is asked whether a publisher is still there."""
NAMED = 3
"""So many of them are named at most."""
ENABLE_ANEW = '; to take the other, disable and enable the controller by set_enabled'


class OneSource:
    """The one publisher whose messages are taken, ``what`` in words.

    It is the first whose message was taken, since ``forget``. Another one is taken once that one is
    gone, or has been silent for so long that what it sent no longer holds: a node that was killed
    stays in the graph for a while. Where the source is ``pinned``, only a node of the same name
    follows it, one that was started again. Two in turn would be two scenes, or two wills, for one
    robot.
    """

    def __init__(
        self, node: Any, topic: str, what: str, also: str = ', or remap it', pinned: bool = False
    ) -> None:
        self.name = ''
        """Node whose messages are taken, '' before the first or where it is not known."""
        self._node = node
        self._topic = topic
        self._what = what
        self._also = also
        self._pinned = pinned
        self._turned_away = -math.inf
        self._publisher = b''
        self._heard = -math.inf
        self._named = -math.inf
        self._refused: dict[tuple[bytes, bool], tuple[str, float]] = {}

    @property
    def shown(self) -> str:
        """The node whose messages are taken and the end of its GID, or ''."""
        if not self._publisher:
            return ''
        return f'{self.name or "an unknown node"} ({self._publisher[-8:].hex()})'

    def forget(self) -> None:
        """Take whoever comes first from now on."""
        self._publisher, self._refused, self.name = b'', {}, ''

    def refuse(self, publisher: bytes, now: float, timeout: float) -> str | None:
        """Return why a message of ``publisher`` must not be taken, or ``None``."""
        if not self._publisher or publisher == self._publisher:
            return None
        silent = not 0 <= now - self._heard <= timeout
        if silent and not self._pinned:
            return None
        key = publisher, silent
        reason, asked = self._refused.get(key, ('', -math.inf))
        if not 0 <= now - asked < ASKED_S:
            # A node that was killed leaves the graph only after a while.
            reason = self._reason(publisher, silent)
            recent = {who: why for who, why in self._refused.items() if now - why[1] < ASKED_S}
            self._refused = {**recent, key: (reason, now)}
        return reason or None

    def drives(self, publisher: bytes, now: float) -> None:
        """Take note that a message of ``publisher`` was taken."""
        if self._publisher and publisher != self._publisher:
            who = publisher_name(self._node, self._topic, publisher)
            self._node.get_logger().warning(f'{self._what} come from {who} from now on')
            self._refused = {}
        if publisher != self._publisher or (not self.name and now > self._named + ASKED_S):
            self.name, self._named = publisher_node(self._node, self._topic, publisher), now
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

    def _reason(self, publisher: bytes, silent: bool) -> str:
        mine = publisher_name(self._node, self._topic, self._publisher)
        if silent or mine.startswith('an unknown'):
            if not self._pinned or not self.name:
                return ''
            if publisher_node(self._node, self._topic, publisher) == self.name:
                return ''
            mine = f'{self.name}, which is gone or silent,'
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


class Rivals:
    """Others who send where this node commands the robot."""

    def __init__(self, node: Any, topics: Iterable[str], actions: Iterable[str]) -> None:
        self._node = node
        self._topics, self._actions = tuple(topics), tuple(actions)

    def found(self) -> str:
        """Return who they are, where they send, and what to do; '' where there is nobody."""
        said = [*map(self._on, self._topics), *map(self._of, self._actions)]
        return '; '.join(filter(None, said))

    def _of(self, action: str) -> str:
        if self._node.count_clients(f'{action}/_action/send_goal') < 2:
            return ''
        return (
            f'another node is a client of the action {self._node.resolve_topic_name(action)}, by '
            'which this one moves the robot; expected no other. End it.'
        )

    def _on(self, topic: str) -> str:
        node = self._node
        if node.count_publishers(topic) < 2:
            return ''
        me = f'{node.get_namespace().rstrip("/")}/{node.get_name()}'
        names = [
            f'{info.node_namespace.rstrip("/")}/{info.node_name}'
            for info in node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
        ]
        others = sorted({name for name in names if name != me})
        who = ', '.join(others[:NAMED]) or f'another {me}'
        return (
            f'{who} also publishes on {node.resolve_topic_name(topic)}; expected {me} alone, which '
            'moves the robot. End the other one, or give it another topic.'
        )
