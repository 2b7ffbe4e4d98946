# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Publish or count camera images in a process of its own, to measure what the middleware loses.

Run as ``python -m efficient_vla.nodes.client.image_probe publish`` and ``... receive``; each
prints one JSON object when done. ``benchmarks.transport`` starts the pair.
"""

import argparse
import sys
import time
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Empty

from efficient_vla.nodes.client.probe import run_probe

TOPIC = 'probe/image_raw'
HEARD_TOPIC = 'probe/heard'
RECEIVER_DEPTH = 60
"""Deeper than that of a stage, which wants only the newest image: a receiver that the scheduler
held up must not look like a middleware that lost something."""
SILENCE_S = 2.0
"""The receiver gives up on the rest after this long without an image."""
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def best_effort(depth: int) -> QoSProfile:
    """Return the QoS of a camera with another depth."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


def publish(node: Node, width: int, height: int, rate: float, count: int) -> dict[str, Any]:
    """Publish ``count`` numbered images once somebody hears this publisher; return how many."""
    publisher = node.create_publisher(Image, TOPIC, best_effort(1))
    image = Image(width=width, height=height, encoding='rgb8', step=3 * width)
    image.data.frombytes(bytes(range(256)) * (width * height * 3 // 256 + 1))
    del image.data[width * height * 3 :]
    sent = 0
    heard = False

    def hear(_: Empty) -> None:
        nonlocal heard
        heard = True

    def send() -> None:
        nonlocal sent
        # The two sides discover each other one after the other; until the receiver has said
        # that it hears, images go unnumbered.
        image.header.frame_id = str(sent) if heard else ''
        image.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(image)
        sent += heard

    node.create_subscription(Empty, HEARD_TOPIC, hear, LATCHED)
    timer = node.create_timer(1.0 / rate, send)
    while sent < count:
        rclpy.spin_once(node, timeout_sec=SILENCE_S)
    timer.cancel()
    # Best effort has no acknowledgement: stay until the receiver has gone, so nothing is cut off.
    while publisher.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.1)
    return {'sent': sent}


def receive(node: Node, width: int, height: int, count: int) -> dict[str, Any]:
    """Receive up to ``count`` images; return how many came and publish-to-callback times [ms]."""
    latencies_ms: list[float] = []
    last = -1
    silent_since = time.monotonic()

    def take(image: Image) -> None:
        nonlocal last, silent_since
        silent_since = time.monotonic()
        if not image.header.frame_id:
            heard.publish(Empty())
            return
        stamp = image.header.stamp.sec * 1_000_000_000 + image.header.stamp.nanosec
        if len(image.data) != width * height * 3:
            raise ValueError(
                f'image {image.header.frame_id} holds {len(image.data)} bytes; expected '
                f'{width * height * 3}. The other side uses another size.'
            )
        latencies_ms.append((node.get_clock().now().nanoseconds - stamp) / 1e6)
        last = int(image.header.frame_id)

    heard = node.create_publisher(Empty, HEARD_TOPIC, LATCHED)
    node.create_subscription(Image, TOPIC, take, best_effort(RECEIVER_DEPTH))
    while last < count - 1:
        rclpy.spin_once(node, timeout_sec=0.1)
        if latencies_ms and time.monotonic() - silent_since > SILENCE_S:
            break
    return {'received': len(latencies_ms), 'latencies_ms': latencies_ms}


def main(arguments: list[str] | None = None) -> int:
    """Run one side and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('side', choices=('publish', 'receive'))
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument('--height', type=int, default=480)
    parser.add_argument('--rate', type=float, default=30.0, help='images a second')
    parser.add_argument('--count', type=int, default=90)
    options = parser.parse_args(arguments)
    size = options.width, options.height

    def measure(node: Node) -> dict[str, Any]:
        if options.side == 'publish':
            return publish(node, *size, options.rate, options.count)
        return receive(node, *size, options.count)

    return run_probe(f'image_probe_{options.side}', measure)


if __name__ == '__main__':
    sys.exit(main())
