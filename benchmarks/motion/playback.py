# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Play recorded chunks through the controller, late, lost or out of order."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.motion.recording import RecordedMotion
from efficient_vla.bench.inference import Inference, StepTimer
from efficient_vla.bench.overrides import EvaluationSettings
from efficient_vla.control.controller import Controller
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.control.state import State
from efficient_vla.settings import build
from efficient_vla.types import ActionChunk, ControlMode, Execution

NAMES = ('x', 'y', 'z', 'gripper')
OPEN_LIMITS = {
    'limits.max_velocity': [50.0],
    'limits.max_acceleration': [1e4],
    'limits.stop_deceleration': [1e4],
    'limits.max_jerk': [1e7],
    'limits.position_low': [-1e3],
    'limits.position_high': [1e3],
}
"""So wide that the set-points are the reference that the blending made."""
OVERLAPPED = 64


@dataclass(frozen=True, slots=True)
class Scenario:
    """When chunks are asked for and when they arrive."""

    delay: float
    """Seconds from frame to arrival."""
    jitter: float = 0.0
    """Seconds that are added at most."""
    drop: float = 0.0
    """Share of chunks that never arrive."""
    in_flight: int = OVERLAPPED
    """Chunks under way at once."""
    period: float = 0.1
    """Seconds between two requests at least."""
    seed: int = 0


class RecordedChunks:
    """The chunks as they were recorded."""

    def __init__(self, recording: RecordedMotion) -> None:
        self._chunks = recording.chunks

    def chunk(self, step: int) -> np.ndarray:
        """Return the rows that follow the frame of ``step``, float64 [H, A]."""
        rows: np.ndarray = self._chunks[step]
        return rows

    def note_execution(self, execution: Execution | None) -> None:
        """Take in how the controller executes its newest chunk; a recording does not care."""


@dataclass(frozen=True, slots=True)
class Played:
    """One motion, a row a step."""

    positions: np.ndarray
    """float64, [T, 3], set-points at the end of each step [m]."""
    driven: np.ndarray
    """bool, [T], whether a chunk moved the robot."""
    time_scale: np.ndarray
    """float64, [T], seconds of the chunk that passed in a second, where one moved the robot."""
    arrivals: tuple[int, ...]
    """Steps at whose beginning a chunk was taken over, the first left out."""


def controller_settings(
    base: ControllerSettings, blending: str, dt: float, limited: bool
) -> ControllerSettings:
    """Return ``base`` with another blending at one tick a row, with its limits or without."""
    values: dict[str, Any] = {'rate': 1 / dt, 'robot_delay': 0.0, 'blending.method': blending}
    values |= {} if limited else OPEN_LIMITS
    return build(ControllerSettings, values, base)


def play(
    recording: RecordedMotion,
    scenario: Scenario,
    settings: ControllerSettings,
    source: RecordedChunks | None = None,
) -> Played:
    """Return the motion that the controller makes of chunks of ``source``, or the recorded ones.

    The first chunk is there at once, as in the recording, whose robot moved from the first step
    on; all others take the time of the scenario.
    """
    dt = recording.dt
    source = source or RecordedChunks(recording)
    controller = Controller(settings, NAMES)
    controller.reset(np.append(recording.start, 0.0), 0.0)
    refused = controller.enable(0.0) or controller.accept(_chunk(source, 0, dt), 0.0)
    if refused:
        raise RuntimeError(f'the first chunk of {recording.name} cannot be played: {refused}')
    delays = {name: getattr(scenario, name) for name in ('delay', 'jitter', 'drop', 'in_flight')}
    inference = Inference(build(EvaluationSettings, delays), scenario.seed)
    schedule = StepTimer(scenario.period, dt)
    schedule.started(0)
    positions, driven, scales, arrivals = [], [], [], []

    def deliver(step: int) -> None:
        for chunk in inference.arrived(step * dt):
            if controller.accept(chunk, step * dt) is None:
                arrivals.append(step)

    for step in range(len(recording.chunks)):
        deliver(step)
        if schedule.due(step) and inference.free:
            schedule.started(step)
            source.note_execution(controller.report(step * dt).execution)
            inference.start(_chunk(source, step, dt))
            deliver(step)
        positions.append(controller.tick((step + 1) * dt).position[:3])
        execution = controller.report((step + 1) * dt).execution
        driven.append(controller.state == State.TRACKING)
        scales.append(execution.time_scale if execution is not None else 0.0)
    return Played(np.stack(positions), np.array(driven), np.array(scales), tuple(arrivals))


def _chunk(source: RecordedChunks, step: int, dt: float) -> ActionChunk:
    return ActionChunk(
        actions=source.chunk(step).astype(np.float32),
        dt=dt,
        names=NAMES,
        control_mode=ControlMode.EE_POSITION,
        stamp=step * dt,
        sequence=step + 1,
        plan_sequence=step + 1,
        plan_stamp=step * dt,
    )
