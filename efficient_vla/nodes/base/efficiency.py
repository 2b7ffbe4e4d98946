# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The message of what one pass of a stage cost and saved, the same for all stages."""

import math
from typing import Any

from efficient_vla import msg
from efficient_vla.nodes.base.conversions import seconds_to_stamp
from efficient_vla.statistics import LatencyWindow, resident_mb

STAGE_NAMES = {
    getattr(msg.EfficiencyStats, name): name.removeprefix('STAGE_').lower()
    for name in dir(msg.EfficiencyStats)
    if name.startswith('STAGE_') and name != 'STAGE_UNKNOWN'
}


def efficiency_message(
    stage: int,
    method: str,
    latency: LatencyWindow,
    rate_hz: float,
    stamp: float,
    **fields: Any,
) -> msg.EfficiencyStats:
    """Return the statistics of the newest pass of ``latency``, about the frame of ``stamp`` [s].

    ``fields`` are those of the message that only some stages know.
    """
    p50, p95, p99 = latency.percentiles()
    message = msg.EfficiencyStats(
        stage=stage,
        method=method,
        latency_ms=latency.last,
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_p99_ms=p99,
        rate_hz=rate_hz,
        resident_mb=resident_mb(),
        count=latency.count,
        **{'hit_rate': math.nan, 'saved_ms': math.nan, **fields},
    )
    message.header.stamp = seconds_to_stamp(stamp)
    return message
