# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service of every topic, each with its reason."""

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

LIVELINESS_LEASE_S = 0.1


def image_qos() -> QoSProfile:
    """Best effort, newest only: a queue before a slow stage would make every image older."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def camera_qos() -> QoSProfile:
    """Best effort, two: a second camera on the topic must not hide the first one's images."""
    return QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)


def state_qos() -> QoSProfile:
    """Best effort, a short queue: the actor keeps a history, and one lost state harms nothing."""
    return QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def newest_qos() -> QoSProfile:
    """Reliable, newest only: records between stages, where the latest one wins."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


def chunk_qos() -> QoSProfile:
    """Reliable, a few: a second actor must not push those of the first out of the queue."""
    return QoSProfile(depth=4, reliability=ReliabilityPolicy.RELIABLE)


def latched_qos() -> QoSProfile:
    """Reliable, newest also for late joiners: a restarted node goes on where the graph is."""
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def report_qos() -> QoSProfile:
    """Reliable with a queue of ten: statistics and diagnostics, which are counted."""
    return QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


def alive_qos() -> QoSProfile:
    """Liveliness alone: who dies is noticed after one lease, and the robot still has to brake."""
    return QoSProfile(
        depth=1,
        liveliness=LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Duration(seconds=LIVELINESS_LEASE_S),
    )
