# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Subscriptions whose messages cost a bounded time, whatever others publish.

A message is looked at as bytes first: what is longer than its topic allows is dropped unread. Where
a period must hold, a thread takes the messages: rclpy holds Python's lock while the middleware
copies a message, which lasts a tenth of a second for 40 MB, and so does whatever takes one on the
thread of the control loop. This calls rcl itself, which leaves the lock to the loop meanwhile.
"""

import ctypes
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message

from efficient_vla.nodes.base.lifecycle import ManagedNode

PAUSE_S = 0.002
"""Between two looks at the topics; with ``PER_LOOK`` it bounds the rate of messages."""
PER_LOOK = 2
WAIT_NS = 100_000_000
CLOSE_TIMEOUT_S = 1.0
SILENT_S = 0.5
"""A thread that takes messages shows that it lives at least so often."""
FORGIVEN_S = 5.0
"""A topic without a refused message for so long is well again."""

Callback = Callable[[Any, bytes], None]
"""Takes a message and the GID of its publisher."""


@dataclass
class _Topic:
    kind: type
    name: str
    callback: Callback
    limit: int
    own: bool
    waits: bool
    prepare: Callable[[Any], Any]
    subscription: Any = None
    waiting: deque[tuple[Any, bytes]] = field(default_factory=deque)
    refused: float = 0.0


class Inlet:
    """The bounded subscriptions of a node.

    In simulated time the executor calls back at once: a simulation in lockstep waits for that, and
    no robot for the loop. Otherwise messages wait until the loop calls ``drain``.
    """

    def __init__(self, node: ManagedNode[Any]) -> None:
        self._node = node
        self._threaded = not node.get_clock().ros_time_is_active
        self._topics: list[_Topic] = []
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._beat = math.inf
        """When the thread last showed that it lives, by the steady clock [s]."""

    def subscribe(
        self,
        kind: type,
        name: str,
        callback: Callback,
        qos: QoSProfile,
        limit: int,
        own: bool = True,
        waits: bool = False,
        prepare: Callable[[Any], Any] = lambda message: message,
    ) -> None:
        """Call back for messages of at most ``limit`` bytes; of more than wait, the newest.

        A longer one is a fault only on a topic of the graph's ``own``. One that ``waits`` is called
        back for by ``drain_rest``. ``prepare`` is what of the work need not wait for the loop: the
        callback takes what it makes of the message.
        """
        waiting: deque[tuple[Any, bytes]] = deque(maxlen=qos.depth)
        topic = _Topic(kind, name, callback, limit, own, waits, prepare, waiting=waiting)

        def received(data: bytes, info: Any) -> None:
            message = self._read(topic, data, len(data), info['publisher_gid']['data'])
            if message is not None:
                callback(message, info['publisher_gid']['data'])

        topic.subscription = self._node.create_subscription(kind, name, received, qos, raw=True)
        self._topics.append(topic)
        if self._threaded:
            # Not for the executor; the graph still shows the subscription as the node's.
            self._node._subscriptions.remove(topic.subscription)

    def start(self) -> None:
        """Begin to take messages; to be called once all topics are subscribed."""
        if self._threaded:
            self._beat = time.monotonic()
            self._thread = threading.Thread(target=self._spin, name='inlet', daemon=True)
            self._thread.start()

    def drain(self) -> None:
        """Call back for all messages that came, but for those of topics that wait.

        On the thread of the control loop.
        """
        for topic in self._topics:
            if not topic.waits:
                for _ in range(len(topic.waiting)):
                    topic.callback(*topic.waiting.popleft())

    def drain_rest(self, until: float = math.inf) -> None:
        """Call back for messages of topics that wait.

        ``until`` is a time of the steady clock [s] after which those that are left wait for the
        next call.
        """
        for topic in self._topics:
            if topic.waits:
                for _ in range(len(topic.waiting)):
                    topic.callback(*topic.waiting.popleft())
                    if time.monotonic() >= until:
                        return

    def silent(self) -> str | None:
        """Return in words that messages are not taken any more, ``None`` while they are."""
        if time.monotonic() - self._beat <= SILENT_S:
            return None
        return (
            f'no message could be taken for longer than {SILENT_S} s: the thread that takes them '
            'hangs or ended. Where that lasts, start this node anew.'
        )

    def close(self) -> None:
        """Stop taking messages."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)
            for topic in self._topics:
                topic.subscription.destroy()

    def _spin(self) -> None:
        context = self._node.context
        try:
            taker = _Taker()
            while not self._closing.wait(PAUSE_S) and context.ok():
                for topic in self._ready():
                    self._take(topic, taker)
                    self._beat = time.monotonic()
                self._beat = time.monotonic()
        except Exception as error:
            # The end of the context wakes the wait with an error.
            if context.ok() and not self._closing.is_set():
                self._beat = -math.inf
                self._node.failed('inlet', error)

    def _take(self, topic: _Topic, taker: '_Taker') -> None:
        for _ in range(PER_LOOK):
            taken = taker.take(topic.subscription.handle, topic.limit)
            if taken is None:
                return
            data, size, publisher = taken
            message = self._read(topic, data, size, publisher)
            if message is not None:
                topic.waiting.append((message, publisher))

    def _ready(self) -> list[_Topic]:
        handles = {topic.subscription.handle.pointer: topic for topic in self._topics}
        context = self._node.context.handle
        with context:
            waits = _rclpy.WaitSet(len(handles), 0, 0, 0, 0, 0, context)
            waits.clear_entities()
            for topic in self._topics:
                waits.add_subscription(topic.subscription.handle)
            waits.wait(WAIT_NS)
            return [handles[pointer] for pointer in waits.get_ready_entities('subscription')]

    def _read(self, topic: _Topic, data: bytes, size: int, publisher: bytes) -> Any:
        """Return what is made of the message in ``data``, or ``None`` where it is refused."""
        rule, now = f'{topic.name}_size', time.monotonic()
        if size > topic.limit:
            fault = f'of {size} bytes came from {{}}; expected at most {topic.limit}'
        else:
            if now - topic.refused > FORGIVEN_S:
                self._node.health.clear(rule)
            try:
                return topic.prepare(deserialize_message(data, topic.kind))
            except Exception:  # of rmw, which names neither topic nor publisher
                fault = f'came from {{}} that is no {topic.kind.__name__} of this version'
        topic.refused = now
        if topic.own and not self._node.health.message(rule):
            who = publisher_name(self._node, topic.name, publisher)
            text = f'a message {fault.format(who)}. It was dropped. End or mend that publisher.'
            self._node.health.warn(rule, text)
        return None


def publisher_node(node: Any, topic: str, publisher: bytes) -> str:
    """Return the full name of the node that publishes on ``topic`` with this GID, '' if unknown."""
    for found in node.get_publishers_info_by_topic(topic):
        if bytes(found.endpoint_gid)[: len(publisher)] == publisher:
            return f'{found.node_namespace.rstrip("/")}/{found.node_name}'
    return ''


def publisher_name(node: Any, topic: str, publisher: bytes) -> str:
    """Return the node that publishes on ``topic`` with this GID, as a person would find it."""
    name = publisher_node(node, topic, publisher) or 'an unknown node'
    return f'{name} ({publisher[-8:].hex()})'


class _Allocator(ctypes.Structure):
    """rcutils_allocator_t."""

    _fields_ = [(name, ctypes.c_void_p) for name in ('get', 'free', 'renew', 'zeroed', 'state')]


class _Bytes(ctypes.Structure):
    """rcutils_uint8_array_t."""

    _fields_ = [
        ('buffer', ctypes.c_void_p),
        ('length', ctypes.c_size_t),
        ('capacity', ctypes.c_size_t),
        ('allocator', _Allocator),
    ]


class _Info(ctypes.Structure):
    """rmw_message_info_t, since Iron; with room for what later versions append."""

    _fields_ = [
        ('source_timestamp', ctypes.c_int64),
        ('received_timestamp', ctypes.c_int64),
        ('publication_sequence', ctypes.c_uint64),
        ('reception_sequence', ctypes.c_uint64),
        ('implementation', ctypes.c_char_p),
        ('publisher', ctypes.c_uint8 * 16),
        ('more', ctypes.c_uint8 * 64),
    ]


class _Taker:
    """Takes serialized messages without Python's lock."""

    def __init__(self) -> None:
        rcutils, rcl = ctypes.CDLL('librcutils.so'), ctypes.CDLL('librcl.so')
        rcutils.rcutils_get_default_allocator.restype = _Allocator
        self._free = rcutils.rcutils_uint8_array_fini
        self._free.argtypes = [ctypes.POINTER(_Bytes)]
        self._take = rcl.rcl_take_serialized_message
        self._take.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(_Bytes),
            ctypes.POINTER(_Info),
            ctypes.c_void_p,
        ]
        self._allocator = rcutils.rcutils_get_default_allocator()

    def take(self, handle: Any, limit: int) -> tuple[bytes, int, bytes] | None:
        """Return data, empty above ``limit`` bytes, its size, and the publisher, or ``None``."""
        data, info = _Bytes(allocator=self._allocator), _Info()
        with handle:
            failed = self._take(handle.pointer, ctypes.byref(data), ctypes.byref(info), None)
        if failed:
            return None
        size = data.length
        raw = ctypes.string_at(data.buffer, size) if size <= limit else b''
        self._free(ctypes.byref(data))
        return raw, size, bytes(info.publisher)
