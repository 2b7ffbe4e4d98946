# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Named rules that fired, and how often: what a node says in /diagnostics."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
RULE = re.compile(r'(?:^|; )(?P<rule>(?:no )?[\w/]+): ')
"""How a rule begins in the message of a status."""
HOLD_S = 1.0
"""A rule that recovers is shown for so long after it last fired, and logged no more often."""


@dataclass(slots=True)
class _Rule:
    level: bytes
    text: str
    fired: float
    holds: bool = True
    """Whether it was not cleared since it last fired."""


def rules_of(message: str) -> dict[str, str]:
    """Return rule -> what it says, of the ``message`` of a ``status``."""
    starts = [*RULE.finditer(message)]
    ends = [*(found.start() for found in starts), len(message)][1:]
    return {s['rule']: message[s.end() : end] for s, end in zip(starts, ends, strict=False)}


class Health:
    """Rules by name: what holds now, and what is shown and logged of it without flicker.

    A rule that fires and recovers with every other message is one line in the log and one state
    in the diagnostics. Any thread may report; times are those of the steady clock.
    """

    def __init__(self, logger: Any, steady: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._logger = logger
        self._steady = steady
        self._rules: dict[str, _Rule] = {}
        self._logged: dict[str, tuple[float, bytes]] = {}
        """When a rule was last logged, and its level there."""
        self._lock = threading.Lock()

    def warn(self, rule: str, message: str | None) -> bool:
        """Report that the node works with less than it should have; return whether it is logged.

        An empty message, or none, says that the rule holds no more; a long one is cut.
        """
        return self._fire(rule, WARN, message)

    def error(self, rule: str, message: str | None) -> bool:
        """Report that the node cannot do its work, as ``warn`` does."""
        return self._fire(rule, ERROR, message)

    def clear(self, rule: str) -> None:
        """Report that ``rule`` holds no more."""
        found = self._rules.get(rule)
        if found is not None:
            found.holds = False
            self._settle()

    def clear_all(self) -> None:
        """Forget all rules, for a node that starts anew."""
        with self._lock:
            self._rules.clear()
            self._logged.clear()

    def message(self, rule: str) -> str:
        """Return what ``rule`` says now, or an empty string while it does not hold."""
        found = self._rules.get(rule)
        return found.text if found is not None and found.holds else ''

    def status(self, name: str, values: Mapping[str, Any]) -> DiagnosticStatus:
        """Return the worst level, every rule that fired lately, and ``values`` with the counts."""
        self._settle()
        with self._lock:
            fired = dict(self._rules)
            counts = dict(self.counts)
        status = DiagnosticStatus(name=name, level=OK, message='ok')
        if fired:
            status.level = max(found.level for found in fired.values())
            status.message = '; '.join(f'{rule}: {found.text}' for rule, found in fired.items())
        for key, value in {**values, **counts}.items():
            text = f'{value:.6g}' if isinstance(value, float) else str(value)
            status.values.append(KeyValue(key=str(key), value=text))
        return status

    def _fire(self, rule: str, level: bytes, message: str | None) -> bool:
        if not message:
            self.clear(rule)
            return False
        now = self._steady()
        with self._lock:
            self.counts[rule] += 1
            self._rules[rule] = _Rule(level, message[:500], now)
            return self._log(rule, now)

    def _settle(self) -> None:
        """Drop rules that recovered for good, and log what was not due before."""
        now = self._steady()
        with self._lock:
            for rule, found in list(self._rules.items()):
                if found.holds or now < found.fired + HOLD_S:
                    self._log(rule, now)
                    continue
                del self._rules[rule]
                if rule in self._logged and self._logged[rule][1] != OK:
                    self._logged[rule] = now, OK
                    self._logger.info(f'{rule}: recovered')

    def _log(self, rule: str, now: float) -> bool:
        """Log a rule whose level is news, at most once in ``HOLD_S``."""
        found = self._rules[rule]
        since, level = self._logged.get(rule, (float('-inf'), OK))
        if level == found.level or now < since + HOLD_S:
            return False
        self._logged[rule] = now, found.level
        # rclpy tells severities apart by the line that logs, so each has one of its own.
        if found.level == ERROR:
            self._logger.error(f'{rule}: {found.text}')
        else:
            self._logger.warning(f'{rule}: {found.text}')
        return True
