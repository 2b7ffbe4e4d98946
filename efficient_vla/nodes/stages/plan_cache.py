# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Keys and values of plans, handed from reasoner to actor by reference inside one process.

The cache of a prefix has some megabytes and is in no plan's message. An actor in another process
asks for it as a message of its own and puts it here. Plans are told apart by topic, frame and
the sentence that was read, which their messages name.
"""

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from efficient_vla.types import Plan, to_nanoseconds

TOPIC = 'plan_cache'
KEPT = 3
"""Newest caches of a topic that are kept for an actor that has not heard of them yet."""

_kept: dict[str, OrderedDict[tuple[int, str], Any]] = {}
_lock = threading.Lock()


def keep(topic: str, plan: Plan) -> None:
    """Keep the cache of a plan that is about to be published; of one without, nothing."""
    if plan.cache is not None:
        put(topic, plan.stamp, plan.sentence, plan.cache)


def put(topic: str, stamp: float, sentence: str, cache: Any) -> None:
    """Keep the cache of the plan of this frame [s] and of the sentence that it read."""
    key = to_nanoseconds(stamp), sentence
    with _lock:
        caches = _kept.setdefault(topic, OrderedDict())
        caches[key] = cache
        caches.move_to_end(key)
        while len(caches) > KEPT:
            caches.popitem(last=False)


def joined(topic: str, plan: Plan) -> Plan:
    """Return a plan that came as a message with its cache, where that is in this process."""
    with _lock:
        caches = _kept.get(topic)
        key = to_nanoseconds(plan.stamp), plan.sentence
        cache = None if caches is None else caches.get(key)
    return plan if cache is None else replace(plan, cache=cache)


def forget(topic: str) -> None:
    """Free all caches of a topic."""
    with _lock:
        _kept.pop(topic, None)
