# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which chunks may drive the robot."""

import math

import numpy as np

from efficient_vla.control.angles import wrapping
from efficient_vla.control.contract import refuse_effort, refuse_kind
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.control.trajectory import Trajectory
from efficient_vla.types import LONGEST_ROW, MAX_ROWS, SHORTEST_ROW, ActionChunk, ControlMode

SAME_S = 1e-3
"""Observations closer than this are one."""
ROUNDING_S = 1e-5
"""A stamp in seconds since 1970 is rounded, and so is what it is in the time of motion."""


def refuse_contents(chunk: ActionChunk, names: tuple[str, ...]) -> str | None:
    """Return why the rows of ``chunk`` cannot drive a robot with command ``names``, or ``None``."""
    if chunk.names != names:
        return (
            f'chunk has columns {", ".join(chunk.names)}; expected {", ".join(names)}. '
            'Use the policy that was trained for this robot.'
        )
    if len(chunk.actions) > MAX_ROWS:
        return f'chunk has {len(chunk.actions)} rows; expected at most {MAX_ROWS}. Send fewer.'
    if not SHORTEST_ROW <= chunk.dt <= LONGEST_ROW:
        return (
            f'chunk has dt {chunk.dt} s; expected {SHORTEST_ROW} to {LONGEST_ROW} s a row. Correct '
            'the dt of the policy.'
        )
    return refuse_kind(chunk, names) or refuse_effort(chunk)


def refuse_time(
    chunk: ActionChunk, now: float, since: float, settings: ControllerSettings
) -> str | None:
    """Return why ``chunk`` is of the wrong time, or ``None``; before ``since`` all are void."""
    if not math.isfinite(chunk.end):
        return f'chunk has stamp {chunk.stamp} and dt {chunk.dt}; expected finite seconds.'
    limit = settings.watchdog.max_future
    # A plan of the future would be valid for longer than it says.
    for what, stamp in (('chunk', chunk.stamp), ('plan', chunk.plan_stamp)):
        if not stamp - now <= limit:
            return (
                f'{what} is stamped {stamp - now:.3f} s in the future; expected at most '
                f'watchdog.max_future {limit} s. Synchronise the clocks of camera and controller.'
            )
    age = now - chunk.stamp
    if chunk.stamp < since - ROUNDING_S:
        return f'chunk was observed {since - chunk.stamp:.3f} s before the last reset or stop.'
    timeout = settings.watchdog.chunk_timeout
    if age >= timeout:
        return (
            f'chunk has an observation {age:.3f} s old; expected less than '
            f'watchdog.chunk_timeout {timeout} s.'
        )
    return None


def refuse_ended(trajectory: Trajectory, clock: float, now: float) -> str | None:
    """Return why ``trajectory`` has no row to execute any more at ``clock``, or ``None``.

    The clock of motion stands still while the robot does: a robot that waits for every chunk
    executes all of it, however slow inference is.
    """
    if trajectory.end > clock:
        return None
    chunk = trajectory.chunk
    return (
        f'chunk has nothing left: its observation is {now - chunk.stamp:.3f} s old, and the robot '
        f'went on meanwhile; its rows last {chunk.end - chunk.stamp:.3f} s. Inference beside the '
        'motion must take less than a chunk lasts.'
    )


def refuse_turn(
    chunk: ActionChunk,
    rows: np.ndarray,
    start: np.ndarray,
    continuous: np.ndarray,
    names: tuple[str, ...],
) -> str | None:
    """Return that ``rows`` [H, M] of joint angles wrap somewhere after ``start``, or ``None``.

    Joints that are ``continuous`` [M] may.
    """
    if chunk.control_mode != ControlMode.JOINT_POSITION:
        return None
    wraps = wrapping(rows, start) & ~continuous
    if not wraps.any():
        return None
    joints = ', '.join(name for name, wrapped in zip(names, wraps, strict=True) if wrapped)
    return (
        f'chunk goes nearly a full turn within a row on {joints}; expected angles that do not '
        'wrap. Name joints without an end in continuous, or unwrap the angles of the policy.'
    )


def refuse_order(chunk: ActionChunk, active: ActionChunk | None) -> str | None:
    """Return why ``chunk`` must not replace the ``active`` one, or ``None``."""
    if active is None:
        return None
    if chunk.sequence < active.sequence:
        return f'chunk {chunk.sequence} is older than chunk {active.sequence}, which is active.'
    # The stamp is read by a clock that may be slewed meanwhile.
    if chunk.sequence == active.sequence and abs(chunk.stamp - active.stamp) < SAME_S:
        return f'chunk {chunk.sequence} came before; expected each chunk once.'
    if chunk.stamp < active.stamp:
        return (
            f'chunk {chunk.sequence} was observed {active.stamp - chunk.stamp:.3f} s before '
            f'chunk {active.sequence}, which is active.'
        )
    return None


def refuse_plan(chunk: ActionChunk, now: float) -> str | None:
    """Return why the plan behind ``chunk`` may no longer drive the robot, or ``None``."""
    age = now - chunk.plan_stamp
    valid = chunk.plan_valid_for
    if valid < math.inf and not age < valid:
        return f'plan {chunk.plan_sequence} is {age:.3f} s old; it was valid for {valid} s.'
    return None
