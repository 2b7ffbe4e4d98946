# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What was measured: the passes of each stage, how each episode went, and their statistics.

A robot records nothing, so that this is not installed on one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

STAGES = ('camera', 'perception', 'reasoner', 'actor', 'controller')
"""Everything that reports its cost, in the order of the flow."""


@dataclass
class SentEpisode:
    """What a graph sent during an episode: stamps [s] and values, as they arrived."""

    images: list[tuple[float, np.ndarray]] = field(default_factory=list)
    """uint8 [rows, columns, 3]."""
    states: list[tuple[float, np.ndarray]] = field(default_factory=list)
    """[S], as the robot measured them."""
    commands: list[tuple[float, np.ndarray]] = field(default_factory=list)
    """[A]: set-points, then efforts."""


@dataclass
class StageRecord:
    """Passes of one stage; what a stage has no tokens for stays empty."""

    latency_ms: list[float] = field(default_factory=list)
    tokens_total: list[int] = field(default_factory=list)
    tokens_kept: list[int] = field(default_factory=list)
    tokens_reused: list[int] = field(default_factory=list)
    transport_ms: list[float] = field(default_factory=list)
    age_ms: list[float] = field(default_factory=list)
    skipped: int = 0
    parameters_mb: float = 0.0
    resident_mb: float = 0.0
    method: str = ''
    duration_s: float = 0.0
    """Time over which the passes were made, simulated in process and real in the graph."""

    def add_tokens(self, total: int, kept: int, reused: int) -> None:
        """Note what one pass did with its visual tokens."""
        self.tokens_total.append(total)
        self.tokens_kept.append(kept)
        self.tokens_reused.append(reused)

    @property
    def rate_hz(self) -> float:
        """Passes a second."""
        return len(self.latency_ms) / self.duration_s if self.duration_s > 0 else 0.0

    def summary(self) -> dict[str, Any]:
        """Return the JSON object of this stage; token numbers are means a pass."""
        found: dict[str, Any] = {
            'latency_ms': percentiles(self.latency_ms),
            'passes': len(self.latency_ms),
            'skipped': self.skipped,
            'parameters_mb': round(self.parameters_mb, 2),
        }
        if self.tokens_total:
            for name in ('tokens_total', 'tokens_kept', 'tokens_reused'):
                found[name] = float(np.mean(getattr(self, name)))
        if self.transport_ms:
            found['transport_ms'] = percentiles(self.transport_ms)
        if self.age_ms:
            found['age_ms'] = percentiles(self.age_ms)
        if self.resident_mb:
            found['resident_mb'] = round(self.resident_mb, 1)
        if self.method:
            found['method'] = self.method
        return found


def merge(records: Iterable[StageRecord]) -> StageRecord:
    """Return one record of all passes; memory is the largest, durations add up."""
    whole = StageRecord()
    for record in records:
        for item in fields(record):
            if isinstance(getattr(record, item.name), list):
                getattr(whole, item.name).extend(getattr(record, item.name))
        whole.skipped += record.skipped
        whole.duration_s += record.duration_s
        whole.parameters_mb = max(whole.parameters_mb, record.parameters_mb)
        whole.resident_mb = max(whole.resident_mb, record.resident_mb)
        whole.method = record.method or whole.method
    return whole


@dataclass
class EpisodeResult:
    """How one episode went."""

    task: str
    seed: int
    instruction: str
    success: bool
    duration_s: float
    """Simulated time to success, or the length of the episode."""
    underruns: int
    max_jerk: float
    rejected_chunks: int
    stages: dict[str, StageRecord] = field(default_factory=dict)
    video: str = ''
    message: str = ''
    """What the graph said about the end."""
    idle_s: float | None = None
    """Time after the first chunk in which no chunk moved the robot; ``None``: not measured."""

    def summary(self) -> dict[str, Any]:
        """Return the JSON object of this episode."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        del values['stages']
        return {name: value for name, value in values.items() if value not in ('', None)}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 of the finite values, linearly interpolated; all 0 without any."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return {'p50': 0.0, 'p95': 0.0, 'p99': 0.0}
    p50, p95, p99 = np.percentile(finite, (50, 95, 99))
    return {'p50': float(p50), 'p95': float(p95), 'p99': float(p99)}
