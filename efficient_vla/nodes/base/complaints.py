# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the nodes of a graph complain about in /diagnostics, for the result of a task."""

from time import monotonic

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from efficient_vla.bringup.catalogue import NODES
from efficient_vla.nodes.base.bounded import Inlet
from efficient_vla.nodes.base.health import rules_of
from efficient_vla.nodes.base.qos import report_qos

FRESH_S = 2.5
"""A node that said nothing for so long says nothing: it reports every second."""
MAX_BYTES = 16 * 1024
"""Several times what a node of this package reports; others may report more."""
OF_TASKS = ('task', 'stopped')
"""Rules that repeat the result of a task."""
MOST_LETTERS = 500
"""Of one node."""


class Complaints:
    """The newest errors of the nodes of this package in the namespace of ``node``."""

    def __init__(self, node: Node, inlet: Inlet) -> None:
        space = node.get_namespace().rstrip('/')
        self._known = {f'{space}/{name}: health': name for name in NODES}
        self._said: dict[str, tuple[float, str]] = {}
        inlet.subscribe(
            DiagnosticArray,
            '/diagnostics',
            lambda message, _: self.take(message),
            report_qos(),
            MAX_BYTES,
            own=False,
        )

    def take(self, message: DiagnosticArray) -> None:
        """Take in a report; those of other programs are left alone."""
        # Nodes of this package report one status each; a driver may send hundreds.
        status = message.status[0] if len(message.status) == 1 else None
        name = self._known.get(status.name) if status is not None else None
        if status is None or name is None:
            return
        bad = status.level == DiagnosticStatus.ERROR
        rules = rules_of(status.message) if bad else {}
        said = '; '.join(f'{r}: {text}' for r, text in rules.items() if r not in OF_TASKS)
        self._said[name] = monotonic(), said[:MOST_LETTERS]

    def now(self) -> list[str]:
        """Return what is wrong now, one sentence a node, in the order of the graph."""
        fresh = monotonic() - FRESH_S
        found = {name: text for name, (said, text) in self._said.items() if text and said >= fresh}
        return [f'{name}: {found[name]}' for name in NODES if name in found]
