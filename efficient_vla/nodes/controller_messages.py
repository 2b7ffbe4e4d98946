# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the controller says about itself, as messages."""

import math

from efficient_vla import msg
from efficient_vla.control.state import ControllerReport
from efficient_vla.nodes.conversions import seconds_to_stamp
from efficient_vla.nodes.statistics import LatencyWindow
from efficient_vla.nodes.statistics import PeriodMeter
from efficient_vla.nodes.statistics import resident_mb


def status_message(
    report: ControllerReport, periods: PeriodMeter, malformed: int, now: float
) -> msg.ControllerStatus:
    """Return the status at ``now`` [s]; ``malformed`` chunks never reached the control core."""
    message = msg.ControllerStatus(
        state=int(report.state),
        reason=report.reason,
        chunk_sequence=report.chunk_sequence,
        chunk_age_s=known(report.chunk_age),
        plan_age_s=known(report.plan_age),
        remaining_s=report.remaining,
        underruns=report.underruns,
        rejected_chunks=report.rejected + malformed,
        period_ms=periods.mean_ms(),
        period_p99_ms=periods.p99_ms(),
        rate_hz=periods.rate_hz(),
        max_jerk=report.max_jerk,
        max_seam_m=report.max_seam,
        observation_stamp=seconds_to_stamp(report.observation_stamp),
    )
    message.header.stamp = seconds_to_stamp(now)
    return message


def pass_message(
    stamp: float, now: float, method: str, latency: LatencyWindow, rate_hz: float
) -> msg.EfficiencyStats:
    """Return the statistics of the tick at ``now`` that first used the chunk observed at ``stamp``.

    The transport of the chunk is not known here: it is this age less that of the actor.
    """
    p50, p95, p99 = latency.percentiles()
    message = msg.EfficiencyStats(
        stage=msg.EfficiencyStats.STAGE_CONTROLLER,
        method=method,
        latency_ms=latency.last,
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_p99_ms=p99,
        transport_ms=math.nan,
        rate_hz=rate_hz,
        age_ms=(now - stamp) * 1e3,
        resident_mb=resident_mb(),
        count=latency.count,
    )
    message.header.stamp = seconds_to_stamp(stamp)
    return message


def known(age: float) -> float:
    """Return an age, NaN where there is none."""
    return age if math.isfinite(age) else math.nan
