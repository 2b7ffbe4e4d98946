# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the controller says about itself, as messages."""

import math
from dataclasses import dataclass, replace
from typing import Any

from efficient_vla import msg
from efficient_vla.control.contract import JOINT_MODES
from efficient_vla.control.motion_clock import MotionClock
from efficient_vla.control.state import ControllerReport
from efficient_vla.nodes.base.conversions import (
    message_to_chunk,
    seconds_to_stamp,
    stamp_to_seconds,
    write_execution,
)
from efficient_vla.nodes.base.efficiency import efficiency_message
from efficient_vla.statistics import LatencyWindow, PeriodMeter
from efficient_vla.types import ActionChunk


def status_message(
    report: ControllerReport, periods: PeriodMeter, malformed: int, refused: str, now: float
) -> msg.ControllerStatus:
    """Return the status at ``now`` [s].

    ``malformed`` chunks never reached the control core; ``refused`` says why the newest chunk does
    not drive the robot, where it does not.
    """
    reasons = [report.reason, f'chunk refused: {refused}' if refused else '']
    message = msg.ControllerStatus(
        state=int(report.state),
        reason='; '.join(filter(None, reasons)),
        chunk_sequence=report.chunk_sequence,
        chunk_age_s=known(report.chunk_age),
        plan_age_s=known(report.plan_age),
        remaining_s=report.remaining,
        delay_steps=math.nan,
        underruns=report.underruns,
        rejected_chunks=report.rejected + malformed,
        period_ms=periods.mean_ms(),
        period_p99_ms=periods.p99_ms(),
        rate_hz=periods.rate_hz(),
        max_jerk=report.max_jerk,
        max_seam_m=report.max_seam,
    )
    message.header.stamp = seconds_to_stamp(now)
    if report.execution is not None:
        write_execution(report.execution, message)
    return message


def values(report: ControllerReport, periods: PeriodMeter, malformed: int) -> dict[str, Any]:
    """Return what /diagnostics shows of the control loop."""
    return {
        'state': report.state.name,
        'reason': report.reason,
        'chunk_age_s': report.chunk_age,
        'plan_age_s': report.plan_age,
        'time_scale': report.execution.time_scale if report.execution else 0.0,
        'underruns': report.underruns,
        'rejected_chunks': report.rejected + malformed,
        'period_ms': periods.mean_ms(),
        'period_p50_ms': periods.percentile_ms(50),
        'period_p99_ms': periods.p99_ms(),
        'period_p999_ms': periods.percentile_ms(99.9),
        'period_max_ms': periods.percentile_ms(100),
    }


@dataclass(frozen=True, slots=True)
class FreshChunk:
    """A chunk that came since the last tick."""

    stamp: float
    """Capture time of its observation [s]."""
    transport_ms: float
    """From publication to callback; NaN where its sender does not say when it sent."""


def refuse_frame(message: msg.ActionChunk, frame_id: str) -> str | None:
    """Return why end-effector values of ``message`` are of another frame, or ``None``."""
    frame = message.header.frame_id
    if frame in ('', frame_id) or message.control_mode in JOINT_MODES:
        return None
    return (
        f'chunk is in the frame {frame!r}; expected {frame_id!r} or none. Send it in the frame of '
        'the controller, or set frame_id.'
    )


def read_chunk(message: msg.ActionChunk, clock: MotionClock, now: float) -> ActionChunk:
    """Return the chunk, its stamps in the time of motion; raises ``InvalidRecordError``."""
    chunk = message_to_chunk(message)
    return replace(
        chunk,
        stamp=clock.read(chunk.stamp, now),
        plan_stamp=clock.read(chunk.plan_stamp, now),
    )


def fresh_chunk(message: msg.ActionChunk, now: float) -> FreshChunk:
    """Return what the statistics need of a chunk that came at ``now`` [s]."""
    sent = stamp_to_seconds(message.sent)
    transport_ms = (now - sent) * 1e3 if sent else math.nan
    return FreshChunk(stamp_to_seconds(message.header.stamp), transport_ms)


def pass_message(
    fresh: FreshChunk, now: float, method: str, latency: LatencyWindow, rate_hz: float
) -> msg.EfficiencyStats:
    """Return the statistics of the tick at ``now`` [s] that first used a chunk."""
    return efficiency_message(
        msg.EfficiencyStats.STAGE_CONTROLLER,
        method,
        latency,
        rate_hz,
        fresh.stamp,
        transport_ms=fresh.transport_ms,
        age_ms=(now - fresh.stamp) * 1e3,
    )


def known(age: float) -> float:
    """Return an age, NaN where there is none."""
    return age if math.isfinite(age) else math.nan
