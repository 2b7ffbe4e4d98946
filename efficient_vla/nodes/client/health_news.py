# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the nodes of a graph say of their health in /diagnostics, as lines for a person."""

import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from efficient_vla.nodes.base.health import rules_of
from efficient_vla.nodes.base.qos import report_qos


class News(NamedTuple):
    """One piece of news about a node."""

    text: str
    serious: bool = False
    """Whether the node cannot do its work."""
    over: bool = False
    """Whether the rule holds no more."""


class HealthNews:
    """Rules of ``nodes`` that fired in two reports in a row, each told once until it recovers."""

    def __init__(self, node: Any, nodes: Iterable[str], namespace: str = '') -> None:
        space = namespace.rstrip('/')
        self._names = {f'{space}/{name}: health': name for name in nodes}
        self._seen: dict[str, set[str]] = {name: set() for name in nodes}
        self._told: dict[str, set[str]] = {name: set() for name in nodes}
        self._news: list[News] = []
        self._lock = threading.Lock()
        node.create_subscription(DiagnosticArray, '/diagnostics', self.take, report_qos())

    def take(self, message: DiagnosticArray) -> None:
        """Take in one report."""
        for status in message.status:
            name = self._names.get(status.name)
            if name is not None:
                self._compare(name, status)

    def news(self) -> list[News]:
        """Return what was not told yet."""
        with self._lock:
            found, self._news = self._news, []
        return found

    def _compare(self, name: str, status: DiagnosticStatus) -> None:
        rules, told = rules_of(status.message), self._told[name]
        lasting = self._seen[name] & rules.keys()
        serious = status.level >= DiagnosticStatus.ERROR
        lines = [News(f'{name}: {r}: {rules[r]}', serious) for r in sorted(lasting - told)]
        lines += [News(f'{name}: {r}: recovered', over=True) for r in sorted(told - rules.keys())]
        self._seen[name] = set(rules)
        self._told[name] = (told | lasting) & rules.keys()
        with self._lock:
            self._news += lines
