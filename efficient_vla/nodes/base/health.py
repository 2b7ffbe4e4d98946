# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Named rules that fired, and how often: what a node says in /diagnostics."""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR


class Health:
    """Rules by name; each is logged once when it fires and once when it recovers.

    Any thread may report.
    """

    def __init__(self, logger: Any) -> None:
        self.counts: Counter[str] = Counter()
        self._logger = logger
        self._fired: dict[str, tuple[bytes, str]] = {}
        self._lock = threading.Lock()

    def warn(self, rule: str, message: str) -> None:
        """Report that the node works with less than it should have."""
        if self._fire(rule, WARN, message):
            self._logger.warning(f'{rule}: {message}')

    def error(self, rule: str, message: str) -> None:
        """Report that the node cannot do its work."""
        if self._fire(rule, ERROR, message):
            self._logger.error(f'{rule}: {message}')

    def clear(self, rule: str) -> None:
        """Report that ``rule`` holds no more."""
        if rule not in self._fired:
            return
        with self._lock:
            cleared = self._fired.pop(rule, None)
        if cleared:
            self._logger.info(f'{rule}: recovered')

    def clear_all(self) -> None:
        """Forget all rules, for a node that starts anew."""
        with self._lock:
            self._fired.clear()

    def message(self, rule: str) -> str:
        """Return what ``rule`` said, or an empty string when it has not fired."""
        return self._fired.get(rule, (OK, ''))[1]

    def status(self, name: str, values: Mapping[str, Any]) -> DiagnosticStatus:
        """Return the worst level, every rule that fired, and ``values`` with the counts."""
        with self._lock:
            fired = dict(self._fired)
            counts = dict(self.counts)
        status = DiagnosticStatus(name=name, level=OK, message='ok')
        if fired:
            status.level = max(level for level, _ in fired.values())
            status.message = '; '.join(f'{rule}: {text}' for rule, (_, text) in fired.items())
        for key, value in {**values, **counts}.items():
            text = f'{value:.6g}' if isinstance(value, float) else str(value)
            status.values.append(KeyValue(key=str(key), value=text))
        return status

    def _fire(self, rule: str, level: bytes, message: str) -> bool:
        with self._lock:
            self.counts[rule] += 1
            first = rule not in self._fired or self._fired[rule][0] != level
            self._fired[rule] = (level, message)
        return first
