# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keys and values of plans, handed from reasoner to actor by reference inside one process.

A message holds what fits on the wire; the cache of a prefix has some megabytes and stays where it
is. Plans are told apart by topic, frame and task, which their messages name.
"""

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from efficient_vla.types import Plan, to_nanoseconds

KEPT = 3
"""Newest caches of a topic that are kept for an actor that has not heard of them yet."""

_kept: dict[str, OrderedDict[tuple[int, str], Any]] = {}
_lock = threading.Lock()


def keep(topic: str, plan: Plan) -> None:
    """Keep the cache of a plan that is about to be published; of one without, nothing."""
    if plan.cache is None:
        return
    with _lock:
        caches = _kept.setdefault(topic, OrderedDict())
        caches[_key(plan)] = plan.cache
        caches.move_to_end(_key(plan))
        while len(caches) > KEPT:
            caches.popitem(last=False)


def joined(topic: str, plan: Plan) -> Plan:
    """Return a plan that came as a message with its cache, where that is in this process."""
    with _lock:
        caches = _kept.get(topic)
        cache = None if caches is None else caches.get(_key(plan))
    return plan if cache is None else replace(plan, cache=cache)


def forget(topic: str) -> None:
    """Free all caches of a topic."""
    with _lock:
        _kept.pop(topic, None)


def _key(plan: Plan) -> tuple[int, str]:
    return to_nanoseconds(plan.stamp), plan.instruction
