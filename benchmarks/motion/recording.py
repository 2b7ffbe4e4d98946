# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunks of a policy for every step of a motion, to be played again with any delay."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from efficient_vla.bench.inference import StepTimer
from efficient_vla.bench.lockstep import PLAN_PERIOD_S, SceneCamera, start_controller
from efficient_vla.policy import Policy
from efficient_vla.sim.metaworld.scene import MetaWorldSim

OFFSET = 'constant offset'
OFFSET_M = 0.01
"""Chunks of the dummy disagree by up to twice this along x and y [m]."""
DUMMY_ROWS, DUMMY_STEP_S = 40, 0.0125
DUMMY_SWINGS = ((0.10, 0.5), (0.06, 0.8), (0.04, 1.1))
"""Amplitude [m] and frequency [Hz] of the dummy's motion along each axis."""
DUMMY_START = (0.0, 0.6, 0.2)
"""Inside the workspace of the simulated robot [m]."""


@dataclass(frozen=True, slots=True)
class RecordedMotion:
    """A motion, and for each of its steps what the policy said would follow."""

    name: str
    chunks: np.ndarray
    """float64, [T, H, 4]: row k of chunk t is the set-point [m] and the gripper effort at the end
    of step t + k."""
    path: np.ndarray
    """float64, [T, 3], set-points of the motion without delay, at the end of each step [m]."""
    start: np.ndarray
    """float64, [3], set-point before the first step [m]."""
    dt: float
    """Seconds a step lasts, and a row."""


def record(
    sim: MetaWorldSim,
    stages: Policy,
    settings: Mapping[str, Any],
    seed: int,
    limit: int,
) -> RecordedMotion:
    """Run one episode of a ``single`` policy without delay, and ask it for a chunk in every step.

    Chunks of the usual plan period move the robot, the others are only noted. Ends at success or
    after ``limit`` steps.
    """
    sim.reset(seed)
    stages.reset()
    camera = SceneCamera(sim)
    controller = start_controller(sim, settings['controller'])
    plans = StepTimer(PLAN_PERIOD_S['single'], sim.PERIOD)
    start, found, path = sim.setpoint(), [], []
    while not sim.done and sim.steps < limit:
        now = sim.steps * sim.PERIOD
        stages.reasoner.observe(sim.state(), now)
        frame = camera.frame(stages.perception.cameras, stages.actor.state_names, now)
        tokens = stages.perception.encode(frame)
        assert tokens is not None, 'frames are not skipped while recording'
        plan = stages.reasoner.plan(tokens, sim.instruction)
        chunk = stages.actor.chunk(plan, frame)
        rows = chunk.actions.astype(np.float64)
        rows[:, :3] = rows[:, :3].cumsum(0) + sim.setpoint()
        found.append(rows)
        if plans.due(sim.steps):
            plans.started(sim.steps)
            controller.accept(chunk, now)
        position = controller.tick(now + sim.PERIOD).position
        sim.step(position)
        path.append(position[:3])
    return RecordedMotion(f'{sim.task} {seed}', np.stack(found), np.stack(path), start, sim.PERIOD)


def constant_offset(seconds: float) -> RecordedMotion:
    """Return a smooth motion whose chunks are shifted along x and y.

    The shift is -1, 0 or 1 times ``OFFSET_M``, drawn for every step, so that most seams have one,
    whatever the period of asking.
    """
    count = round(seconds / DUMMY_STEP_S)
    time = DUMMY_STEP_S * (np.arange(count)[:, None] + np.arange(DUMMY_ROWS)[None] + 1)
    swings = [a * (1 - np.cos(2 * np.pi * f * time)) / 2 for a, f in DUMMY_SWINGS]
    motion = np.stack(swings, axis=-1) + DUMMY_START  # [T, H, 3]
    shifts = OFFSET_M * np.random.default_rng(0).choice((-1.0, 0.0, 1.0), size=count)
    shifts[0] = 0.0
    chunks = np.concatenate([motion, np.zeros((*time.shape, 1))], axis=-1)
    chunks[:, :, :2] += shifts[:, None, None]
    return RecordedMotion(OFFSET, chunks, motion[:, 0], np.array(DUMMY_START), DUMMY_STEP_S)
