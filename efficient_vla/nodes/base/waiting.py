# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a node waits for: an input that stays away is a rule, with topic, publishers and remedy."""

import difflib
import math
import os
from collections.abc import Callable
from time import monotonic
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

from efficient_vla.bringup.catalogue import POLICY_NODES
from efficient_vla.nodes.base.health import Health

LOOK_PERIOD_S = 0.25
PATIENCE_S = 1.0
"""An input is missed after this, so that the diagnostics say so within two seconds."""
SLOW_INPUT = 2.0
"""A slow input is missed after so many of its own last periods, of ``SLOWEST_S`` at most."""
SLOWEST_S = 5.0
STAGES = (*POLICY_NODES, 'controller', 'monitor')
"""Nodes of the graph whose topics are not meant by an input that stays away."""
UNKNOWN_NODE = '_NODE_NAME_UNKNOWN_'
"""What rmw says until it has discovered the node of a publisher."""
NAMED = 3
"""Topics that are named at most where the one that is waited for is absent."""


class Expectation:
    """One input: it comes again and again while ``needed()``, with a stamp that rises.

    Times are those of the steady clock. In simulated time an input that somebody publishes is
    silent only by that clock, which stands still while a robot in lockstep waits for an answer.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        kind: type,
        qos: QoSProfile,
        needed: Callable[[], bool],
        patience: float = PATIENCE_S,
        required: bool = True,
    ) -> None:
        self.rule = f'no {topic}'
        self.needed = needed
        self.patience = patience
        """Silence longer than this is missed [s]; infinite: only that nobody publishes."""
        self.required = required
        """Whether the node cannot work without it."""
        self._node = node
        self._topic = topic
        self._kind = _type_name(kind)
        self._qos = qos
        self._period = 0.0
        self._stamp = math.nan
        self._unusable = ''
        self._stuck = False
        self._since: tuple[float, float] | None = None
        """Steady and node's time from which on it is waited for."""

    def heard(self, stamp: float) -> None:
        """Take note that an input came, captured at ``stamp`` [s]."""
        self._unusable = ''
        self._stuck = stamp == self._stamp
        if self._stuck:
            return
        self._stamp = stamp
        now = self._times()
        if self._since is not None:
            self._period = min(max(now[1] - self._since[1], 0.0), SLOWEST_S)
        self._since = now

    def unusable(self, reason: str) -> None:
        """Take note that a message came which is none of those that are waited for."""
        self._unusable = reason

    def restart(self) -> None:
        """Wait from now on."""
        self._since, self._period, self._stamp = None, 0.0, math.nan

    def problem(self) -> str:
        """Return what keeps the input away, or an empty string."""
        if not self.needed():
            self.restart()
            return ''
        now = self._times()
        if self._since is None:
            self._since = now
        steady, silent = (n - s for n, s in zip(now, self._since, strict=True))
        if steady <= PATIENCE_S:
            return ''
        return self._without_publisher() or self._silence(silent, steady)

    def _times(self) -> tuple[float, float]:
        steady = monotonic()
        clock = self._node.get_clock()
        return steady, clock.now().nanoseconds * 1e-9 if clock.ros_time_is_active else steady

    def _silence(self, silent: float, steady: float) -> str:
        patience = max(self.patience, SLOW_INPUT * self._period)
        here = f'{self._name()} has {_count(self._publishers())} and'
        if self._unusable and steady > patience:
            return f'{here} its messages lack what is needed: {self._unusable}'
        if silent <= patience:
            return ''
        if self._stuck:
            return (
                f'{here} all its messages have the stamp {self._stamp:.3f} s; expected the time '
                'of each capture. Set the stamps in the driver.'
            )
        return (
            f'{here} nothing came for {patience:.3g} s. Does its sender hang, or is it unplugged?'
        )

    def _without_publisher(self) -> str:
        """Return why nothing that is published can be the input, or an empty string."""
        found = self._publishers()
        if not found:
            domain = os.environ.get('ROS_DOMAIN_ID', '0')
            return (
                f'{self._name()} ({self._kind}) has 0 publishers in ROS domain {domain}. '
                f'{self._remedy()}'
            )
        fitting = [info for info in found if info.topic_type == self._kind]
        if not fitting:
            compressed = found[0].topic_type == self._kind.replace('/Image', '/CompressedImage')
            remedy = 'Name its camera in compressed_cameras.' if compressed else self._remedy()
            return (
                f'{self._name()} has {_count(found)} of the type {found[0].topic_type}; expected '
                f'{self._kind}. {remedy}'
            )
        reasons = []
        for info in fitting:
            level, reason = qos_check_compatible(info.qos_profile, self._qos)
            if level != QoSCompatibility.ERROR:
                return ''
            reasons.append(reason.removeprefix('ERROR: ').rstrip(';'))
        return (
            f'{self._name()} has {_count(fitting)} whose quality of service does not fit: '
            f'{reasons[0]}. Change it at the publisher.'
        )

    def _remedy(self) -> str:
        """Return what to do: the topics that may be meant, the most similar names first."""
        node, own = self._node, self._name()
        wanted = {self._kind, self._kind.replace('/Image', '/CompressedImage')}
        there = {
            name: kinds[0]
            for name, kinds in node.get_topic_names_and_types()
            if name != own and wanted & set(kinds) and self._others_publish(name)
        }
        names = difflib.get_close_matches(own, there, NAMED, 0.0)
        raw = next((name for name in names if there[name] == self._kind), '')
        if raw:
            others = ', '.join(names)
            return f'There are {others}. Remap it: {self._topic}:={raw}'
        if names and names[0].endswith('/compressed'):
            return f'There is {names[0]}, compressed. Remap it: {self._topic}:={names[0]}'
        if names:
            return (
                f'There is {names[0]}, compressed. Remap it: {self._topic}:={names[0]}, and '
                'name the camera in compressed_cameras.'
            )
        return 'Start its publisher, or remap the topic.'

    def _others_publish(self, topic: str) -> bool:
        """Return whether a node outside the graph does: what the graph sends is no input of it."""
        place = self._node.get_namespace()
        found = self._node.get_publishers_info_by_topic(topic)
        return any(info.node_name not in STAGES or info.node_namespace != place for info in found)

    def _name(self) -> str:
        return self._node.resolve_topic_name(self._topic)

    def _publishers(self) -> list[Any]:
        return self._node.get_publishers_info_by_topic(self._name())


class Waiting:
    """The expectations of a node, and the rules that come of them."""

    def __init__(self, node: Node, health: Health) -> None:
        self._node = node
        self._health = health
        self._inputs: list[Expectation] = []

    def expect(self, topic: str, kind: type, qos: QoSProfile, **options: Any) -> Expectation:
        """Wait for an input; ``options`` are those of ``Expectation``."""
        expectation = Expectation(self._node, topic, kind, qos, **options)
        self._inputs.append(expectation)
        return expectation

    def forget(self, expectation: Expectation) -> None:
        """Wait for an input no longer."""
        self._inputs.remove(expectation)
        self._health.clear(expectation.rule)

    def restart(self) -> None:
        """Wait anew for all, for a node whose clock jumped."""
        for expectation in self._inputs:
            expectation.restart()

    def look(self) -> bool:
        """Set and clear the rules; return whether one is new."""
        new = False
        for expectation in self._inputs:
            problem = expectation.problem()
            new = new or bool(problem and not self._health.message(expectation.rule))
            report = self._health.error if expectation.required else self._health.warn
            report(expectation.rule, problem)
        return new


def _type_name(kind: type) -> str:
    package, middle = kind.__module__.split('.')[:2]
    return f'{package}/{middle}/{kind.__name__}'


def _count(publishers: list[Any]) -> str:
    known = [info for info in publishers if info.node_name != UNKNOWN_NODE]
    names = sorted({f'{info.node_namespace.rstrip("/")}/{info.node_name}' for info in known})
    plural = '' if len(publishers) == 1 else 's'
    which = f' ({", ".join(names[:NAMED])})' if names else ''
    return f'{len(publishers)} publisher{plural}{which}'
