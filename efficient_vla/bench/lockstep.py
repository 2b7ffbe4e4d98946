# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One episode in lock-step: three stages and the controller in simulated time.

Inference takes the simulated time of ``eval.delay``, whatever the machine needs for it: by default
none, so that a chunk starts acting in the step whose frame it was computed from. What real
latencies cost is measured by the graph in wall-clock time.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla.bench.inference import Inference, StepTimer
from efficient_vla.bench.overrides import EvaluationSettings
from efficient_vla.bench.video import VideoWriter
from efficient_vla.control.controller import Controller
from efficient_vla.control.kinematics.loading import load_model
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.control.state import State
from efficient_vla.policy import Policy
from efficient_vla.records import EpisodeResult, StageRecord
from efficient_vla.settings import build, flatten
from efficient_vla.sim.interface import Scene
from efficient_vla.stages import ActorStage, looking_back
from efficient_vla.types import Frame, Plan, RefusedChunkError

PLAN_PERIOD_S = {'dual': 0.4, 'single': 0.2}
CHUNK_PERIOD_S = 0.1
EPISODE_S = 60.0
"""A plan that stays is valid for longer than any episode."""
EPISODES_LOOKED_AT = 16
VIDEO_STEPS = 4
"""A video frame every fourth step: 20 frames a second of simulated time."""


class SceneCamera:
    """Renders the present state at most once, and only when somebody asks."""

    def __init__(self, sim: Scene) -> None:
        self.sim = sim
        self._step = -1
        self._image: np.ndarray | None = None

    def image(self) -> np.ndarray:
        """Return the image of the present step, uint8 [rows, columns, 3]."""
        if self._image is None or self._step != self.sim.steps:
            self._image = self.sim.render()
            self._step = self.sim.steps
        return self._image

    def frame(self, cameras: tuple[str, ...], names: tuple[str, ...], now: float) -> Frame:
        """Return what ``cameras`` see and where the robot is, as ``state`` says it."""
        return Frame({name: self.image() for name in cameras}, self.state(names), now)

    def state(self, names: tuple[str, ...]) -> np.ndarray:
        """Return what the robot reports under ``names``, float32 [len(names)]."""
        reported = np.concatenate([self.sim.state(), self.sim.setpoint()])
        values = dict(zip(self.sim.simulation.reported_names, reported, strict=True))
        return np.array([values[name] for name in names], np.float32)


class Handover:
    """When a chunk may be asked for, and how the controller gets those that arrive."""

    def __init__(
        self,
        settings: EvaluationSettings,
        controller: Controller,
        actor: ActorStage,
        seed: int,
        period: float,
    ) -> None:
        """Join controller and actor in steps of ``period`` [s]."""
        self.period = period
        self.inference = Inference(settings, seed)
        self.idle_steps = 0
        self.refused = 0
        """Chunks that the policy made and no robot may follow."""
        self._settings = settings
        self._controller = controller
        self._actor = actor
        self._followed_since = math.nan

    def may_ask(self) -> bool:
        """Return whether a frame may be taken for another chunk."""
        standing = self._controller.state not in (State.TRACKING, State.DECELERATING)
        return self.inference.free and (standing or self._settings.execution == 'asynchronous')

    def deliver(self, now: float) -> None:
        """Hand over the chunks that arrived, and tell the actor what the controller measured."""
        for chunk in self.inference.arrived(now):
            if self._controller.accept(chunk, now) is not None:
                continue
            self._followed_since = now
            self.tell(now)

    def tell(self, now: float) -> None:
        """Tell the actor how its chunk is executed."""
        self._actor.note_execution(self._controller.report(now).execution)

    def tick(self, now: float) -> np.ndarray:
        """Return the set-point [A] at the end of the step that begins at ``now``."""
        horizon = self._settings.horizon or math.inf
        followed = now - self._followed_since
        if followed > horizon - self.period / 2 and self._controller.state == State.TRACKING:
            self._controller.flush(now, f'eval.horizon of {horizon} s is over')
        position = self._controller.tick(now + self.period).position
        if math.isfinite(followed) and self._controller.state != State.TRACKING:
            self.idle_steps += 1
        return position


def run_episode(
    sim: Scene,
    stages: Policy,
    settings: Mapping[str, Any],
    seed: int,
    instruction: str | None = None,
    video: Path | None = None,
) -> EpisodeResult:
    """Run the episode that ``seed`` names until success or the last step.

    Without ``instruction`` the policy gets the episode's own sentence.
    ``settings`` maps node names to their settings; those of ``controller`` and ``eval`` are used.
    """
    control = settings['eval'].plan
    other = other_sentence(sim, seed) if control == 'wrong' else None
    sim.reset(seed)
    instruction = sim.instruction if instruction is None else instruction
    asked = other or instruction
    stages.reset()
    period = sim.simulation.period
    single = stages.actor.architecture == 'single'
    periods = settings['eval'].reasoner_period, settings['eval'].actor_period
    plans = StepTimer(periods[0] or PLAN_PERIOD_S[stages.actor.architecture], period)
    chunks = StepTimer(periods[1] or CHUNK_PERIOD_S, period)
    records = new_records(stages)
    camera = SceneCamera(sim)
    controller = start_controller(sim, settings['controller'])
    handover = Handover(settings['eval'], controller, stages.actor, seed, period)
    memory = looking_back(stages.actor)
    plan: Plan | None = None
    with (
        VideoWriter(video, 1 / (VIDEO_STEPS * period), sim.task, instruction)
        if video
        else nullcontext()
    ) as writer:
        while not sim.done and sim.steps < settings['eval'].max_steps:
            now = sim.steps * period
            if writer and sim.steps % VIDEO_STEPS == 0:
                writer.add(camera.image(), now, sim.success)
            fresh = False
            if stages.reasoner.state_names:
                stages.reasoner.observe(camera.state(stages.reasoner.state_names), now)
            if memory is not None:
                memory.see(camera.frame(stages.actor.cameras, stages.actor.state_names, now))
            handover.deliver(now)
            may_ask = handover.may_ask()
            kept = control == 'first' and plan is not None
            if not kept and plans.due(sim.steps) and (may_ask or not single):
                plans.started(sim.steps)
                frame = camera.frame(stages.perception.cameras, (), now)
                newest = plan_from(stages, frame, asked, records)
                if newest is not None and control == 'first':
                    newest = replace(newest, valid_for=max(newest.valid_for, EPISODE_S))
                fresh = newest is not None
                plan = newest or plan
            due = fresh if single and not kept else may_ask and chunks.due(sim.steps)
            if plan is not None and due:
                chunks.started(sim.steps)
                cameras = stages.actor.cameras if stages.actor.needs_image else ()
                frame = camera.frame(cameras, stages.actor.state_names, now)
                handover.tell(now)
                # As the graph does: what one chunk asks for does not end the episode.
                try:
                    chunk = timed(records['actor'], stages.actor.chunk, plan, frame)
                except RefusedChunkError:
                    handover.refused += 1
                else:
                    handover.inference.start(chunk)
                handover.deliver(now)
            position = handover.tick(now)
            sim.step(position)
        if writer:
            writer.add(camera.image(), sim.steps * period, sim.success)
    duration = sim.steps * period
    for record in records.values():
        record.duration_s = duration
    return EpisodeResult(
        sim.task,
        seed,
        instruction,
        sim.success,
        duration,
        controller.underruns,
        controller.max_jerk,
        controller.rejected + handover.refused,
        records,
        str(video) if video else '',
        idle_s=handover.idle_steps * period,
    )


def other_sentence(sim: Scene, seed: int) -> str:
    """Return a sentence that asks for something else than the episode that ``seed`` names.

    It is that of one of the next episodes of the task, or else of the robot's next task.
    """
    sim.reset(seed)
    own = sim.instruction
    for number in range(1, EPISODES_LOOKED_AT + 1):
        sim.reset(seed + number)
        if sim.instruction != own:
            return sim.instruction
    tasks = list(sim.simulation.instructions)
    turned = tasks[tasks.index(sim.task) :] + tasks
    sentences = [sim.simulation.instructions[task] for task in turned]
    return next((sentence for sentence in sentences if sentence != own), own)


def start_controller(sim: Scene, settings: ControllerSettings) -> Controller:
    """Return an enabled controller at the robot's set-point, at the rate of the simulator.

    Its box is the workspace of the task, cut down to the limits that were set.
    """
    low, high = sim.workspace
    box = {
        'limits.position_low': np.maximum(low, settings.limits.position_low).tolist(),
        'limits.position_high': np.minimum(high, settings.limits.position_high).tolist(),
    }
    names = sim.simulation.command_names
    settings = build(
        ControllerSettings,
        {**flatten(settings), **box, 'rate': 1 / sim.simulation.period, 'robot_delay': 0.0},
    )
    controller = Controller(settings, names, model=load_model(settings, names))
    efforts = np.zeros(len(sim.simulation.effort_names))
    controller.reset(np.append(sim.setpoint(), efforts), 0.0)
    refused = controller.enable(0.0)
    if refused:
        raise RuntimeError(f'controller cannot be enabled: {refused}')
    return controller


def plan_from(
    stages: Policy, frame: Frame, instruction: str, records: dict[str, StageRecord]
) -> Plan | None:
    """Return a new plan, or ``None`` where perception found the frame unchanged."""
    tokens = timed(records['perception'], stages.perception.encode, frame)
    if tokens is None:
        records['perception'].skipped += 1
        return None
    count, reused = len(tokens.position), int(tokens.reused.sum())
    records['perception'].add_tokens(count, count, reused)
    plan: Plan = timed(records['reasoner'], stages.reasoner.plan, tokens, instruction)
    records['reasoner'].add_tokens(plan.tokens_total, len(plan.kept), len(plan.reused))
    return plan


def timed(record: StageRecord, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call a stage and note its whole latency, as its caller sees it."""
    start = time.perf_counter()
    result = call(*arguments)
    record.latency_ms.append((time.perf_counter() - start) * 1e3)
    return result


def new_records(stages: Policy) -> dict[str, StageRecord]:
    """Return stage -> its record without passes."""
    return {
        name: StageRecord(parameters_mb=getattr(stages, name).parameters_mb)
        for name in ('perception', 'reasoner', 'actor')
    }
