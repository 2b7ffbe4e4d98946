# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Listens to what a running graph reports, from a process that is no part of it."""

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from efficient_vla.msg import ControllerStatus, EfficiencyStats
from efficient_vla.nodes.base import qos
from efficient_vla.nodes.base.conversions import image_to_array, stamp_to_seconds
from efficient_vla.nodes.base.efficiency import STAGE_NAMES
from efficient_vla.nodes.base.onlooker import Onlooker
from efficient_vla.records import STAGES, StageRecord

STATES = {
    getattr(ControllerStatus, name): name.removeprefix('STATE_').lower()
    for name in dir(ControllerStatus)
    if name.startswith('STATE_')
}


@dataclass(frozen=True, slots=True)
class LiveView:
    """The newest report of everything; plain numbers, so that a display needs no ROS."""

    state: str = 'unknown'
    reason: str = ''
    plan_age_s: float = float('nan')
    control_hz: float = 0.0
    underruns: int = 0
    rates_hz: dict[str, float] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)


@dataclass
class Recording:
    """What was heard since it was started."""

    stages: dict[str, StageRecord] = field(default_factory=dict)
    frames: list[tuple[float, np.ndarray]] = field(default_factory=list)
    """Capture time [s] and image."""
    periods_ms: list[float] = field(default_factory=list)
    command_rates_hz: list[float] = field(default_factory=list)
    """Means over the last second, while the controller follows chunks."""
    period_p99_ms: float = 0.0
    max_jerk: float = 0.0
    underruns: int = 0
    rejected_chunks: int = 0
    max_plan_age_s: float = 0.0


class GraphListener(Onlooker):
    """Subscribes to the reports of a graph; messages arrive in a thread of their own."""

    def __init__(
        self,
        name: str,
        namespace: str = '',
        record_images: bool = False,
        role: str = 'observer',
    ) -> None:
        super().__init__(name, namespace, role=role)
        self._lock = threading.Lock()
        self._recording = Recording()
        self._newest: dict[str, Any] = {}
        self._status: Any = None
        self._first_status: Any = None
        subscribe = self.node.create_subscription
        subscribe(EfficiencyStats, 'efficiency', self._on_efficiency, qos.report_qos())
        subscribe(ControllerStatus, 'controller_status', self._on_status, qos.latched_qos())
        if record_images:
            subscribe(Image, 'camera/image_raw', self._on_image, qos.image_qos())

    def missing(self) -> list[str]:
        """Return what would not be heard yet: reports whose publishers are not discovered."""
        found = self.node.count_publishers
        missing = [] if found('efficiency') >= len(STAGES) else ['efficiency of some stages']
        return missing + [
            f'nobody publishes {topic}'
            for topic in ('controller_status', 'camera/image_raw')
            if not found(topic)
        ]

    def view(self) -> LiveView:
        """Return the newest reports."""
        with self._lock:
            rates = {name: message.rate_hz for name, message in self._newest.items()}
            latencies = {name: message.latency_p50_ms for name, message in self._newest.items()}
            status = self._status
        if status is None:
            return LiveView(rates_hz=rates, latency_ms=latencies)
        return LiveView(
            STATES.get(status.state, 'unknown'),
            status.reason,
            status.plan_age_s,
            status.rate_hz,
            status.underruns,
            rates,
            latencies,
        )

    def start_recording(self) -> None:
        """Forget what was heard and start anew."""
        with self._lock:
            self._recording = Recording()
            self._first_status = self._status

    def stop_recording(self, duration: float) -> Recording:
        """Return what was heard in the last ``duration`` seconds, since ``start_recording``."""
        with self._lock:
            recording, self._recording = self._recording, Recording()
        for record in recording.stages.values():
            record.duration_s = duration
        return recording

    def newest_frame(self) -> float:
        """Return the capture time of the newest recorded image, or minus infinity [s]."""
        with self._lock:
            frames = self._recording.frames
            return frames[-1][0] if frames else float('-inf')

    def _on_efficiency(self, message: Any) -> None:
        name = STAGE_NAMES.get(message.stage, 'unknown')
        with self._lock:
            self._newest[name] = message
            record = self._recording.stages.setdefault(name, StageRecord())
            record.latency_ms.append(message.latency_ms)
            record.transport_ms.append(message.transport_ms)
            record.age_ms.append(message.age_ms)
            if message.tokens_total:
                record.add_tokens(message.tokens_total, message.tokens_kept, message.tokens_reused)
            record.parameters_mb = message.parameters_mb
            record.resident_mb = message.resident_mb
            record.method = message.method

    def _on_status(self, message: Any) -> None:
        with self._lock:
            self._status = message
            recording, first = self._recording, self._first_status
            tracking = message.state == ControllerStatus.STATE_TRACKING
            if tracking and np.isfinite(message.period_ms):
                recording.periods_ms.append(message.period_ms)
                recording.command_rates_hz.append(message.rate_hz)
            if np.isfinite(message.period_p99_ms):
                recording.period_p99_ms = message.period_p99_ms
            if np.isfinite(message.plan_age_s):
                recording.max_plan_age_s = max(recording.max_plan_age_s, message.plan_age_s)
            recording.max_jerk = max(recording.max_jerk, message.max_jerk)
            recording.underruns = message.underruns - (first.underruns if first else 0)
            recording.rejected_chunks = message.rejected_chunks - (
                first.rejected_chunks if first else 0
            )

    def _on_image(self, message: Any) -> None:
        image = image_to_array(message)
        with self._lock:
            self._recording.frames.append((stamp_to_seconds(message.header.stamp), image))
