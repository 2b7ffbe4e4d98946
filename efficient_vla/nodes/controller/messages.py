# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the controller says about itself, as messages."""

import math
from dataclasses import dataclass, replace
from typing import Any

from efficient_vla import msg
from efficient_vla.control.motion_clock import MotionClock
from efficient_vla.control.state import ControllerReport, State
from efficient_vla.nodes.base.conversions import (
    message_to_chunk,
    seconds_to_stamp,
    stamp_to_seconds,
    write_execution,
)
from efficient_vla.nodes.base.health import Health
from efficient_vla.statistics import PeriodMeter, TimeHistogram
from efficient_vla.types import ActionChunk, InvalidRecordError


def status_message(
    report: ControllerReport, periods: PeriodMeter, malformed: int, refused: str, now: float
) -> msg.ControllerStatus:
    """Return the status at ``now`` [s].

    ``malformed`` chunks never reached the control core; ``refused`` says why the newest chunk does
    not drive the robot, where it does not.
    """
    shown = report.finding if report.finding not in f'{report.reason} {refused}' else ''
    reasons = [report.reason, shown, f'chunk refused: {refused}' if refused else '']
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
        period_p99_ms=periods.percentile_ms(99),
        rate_hz=periods.rate_hz(),
        max_jerk=report.max_jerk,
        max_seam_m=report.max_seam,
    )
    message.header.stamp = seconds_to_stamp(now)
    if report.execution is not None:
        write_execution(report.execution, message)
    return message


def values(
    report: ControllerReport, periods: PeriodMeter, ticks: TimeHistogram, malformed: int
) -> dict[str, Any]:
    """Return what /diagnostics shows of the control loop."""
    return {
        'state': report.state.name,
        'reason': report.reason,
        'kinematics': report.finding,
        'chunk_age_s': report.chunk_age,
        'plan_age_s': report.plan_age,
        'time_scale': report.execution.time_scale if report.execution else 0.0,
        'underruns': report.underruns,
        'rejected_chunks': report.rejected + malformed,
        'period_ms': periods.mean_ms(),
        'period_p50_ms': periods.percentile_ms(50),
        'period_p99_ms': periods.percentile_ms(99),
        'period_p999_ms': periods.percentile_ms(99.9),
        'period_max_ms': periods.percentile_ms(100),
        'tick_p50_ms': ticks.percentile_ms(50),
        'tick_p99_ms': ticks.percentile_ms(99),
    }


def report_chunk(health: Health, state: State, refused: str | None) -> None:
    """Report why the newest chunk does not drive the robot; an error while none does."""
    report = health.error if state in (State.WAITING, State.HOLDING) else health.warn
    report('chunk', refused)


def refuse_frame(message: msg.ActionChunk, frame_id: str) -> str | None:
    """Return why end-effector values of ``message`` are of another frame, or ``None``."""
    frame = message.header.frame_id
    moves = {msg.ActionChunk.KIND_POSITION, msg.ActionChunk.KIND_ROTATION} & set(message.kinds)
    if frame in ('', frame_id) or not moves:
        return None
    return (
        f'chunk is in the frame {frame!r}; expected {frame_id!r} or none. Send it in the frame of '
        'the controller, or set frame_id.'
    )


@dataclass(frozen=True, slots=True)
class Received:
    """A message and its chunk, or why it is none."""

    message: msg.ActionChunk
    chunk: ActionChunk | None = None
    error: str = ''


def received(message: msg.ActionChunk) -> Received:
    """Read the chunk of a message, on any thread."""
    try:
        return Received(message, message_to_chunk(message))
    except InvalidRecordError as error:
        return Received(message, error=str(error))


def timed(chunk: ActionChunk, clock: MotionClock, now: float) -> ActionChunk:
    """Return ``chunk``, its stamps in the time of motion."""
    return replace(
        chunk,
        stamp=clock.read(chunk.stamp, now),
        plan_stamp=clock.read(chunk.plan_stamp, now),
    )


def transport_ms(message: msg.ActionChunk, now: float) -> float:
    """Return the time from publication to ``now`` [ms]; NaN where the sender does not say."""
    sent = stamp_to_seconds(message.sent)
    return (now - sent) * 1e3 if sent else math.nan


def known(age: float) -> float:
    """Return an age, NaN where there is none."""
    return age if math.isfinite(age) else math.nan
