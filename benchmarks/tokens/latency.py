# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What perception and reasoner cost on recorded frames, all variants in turn."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tokens.flops import Tally, metered
from efficient_vla.bench.lockstep import PLAN_PERIOD_S, plan_from
from efficient_vla.bench.overrides import build_settings, merged, parse_overrides
from efficient_vla.policy import Policy
from efficient_vla.records import StageRecord
from efficient_vla.sim.metaworld.experts import ScriptedExpert
from efficient_vla.sim.metaworld.scene import MetaWorldSim
from efficient_vla.types import Frame, Plan

EXPERT_SPEED = 0.5
WARM_UP_FRAMES = 3
"""The first passes allocate memory and choose kernels; they are not counted."""


@dataclass(frozen=True, slots=True)
class RecordedScene:
    """Frames of one episode, as far apart as the plans of an evaluation."""

    instruction: str
    frames: tuple[Frame, ...]
    states: tuple[tuple[tuple[float, np.ndarray], ...], ...]
    """For each frame the stamps [s] and robot states [S] since the frame before."""


@dataclass(slots=True)
class Passes:
    """Costs of one variant."""

    perception: StageRecord = field(default_factory=StageRecord)
    reasoner: StageRecord = field(default_factory=StageRecord)
    plan_ms: list[float] = field(default_factory=list)
    """Perception and reasoner of the same frame."""
    parts_ms: list[float] = field(default_factory=list)
    """In the calls that a stopwatch follows, those between frames included."""


def record_scenes(
    tasks: Sequence[str], cameras: Sequence[str], frames: int, seed: int = 0, size: int = 480
) -> list[RecordedScene]:
    """Return ``frames`` frames a task of a scripted expert at work, rendered fast."""
    steps = round(PLAN_PERIOD_S['single'] / MetaWorldSim.PERIOD)
    scenes = []
    for task in tasks:
        sim, expert = MetaWorldSim(task, 'fast', size), ScriptedExpert(task, EXPERT_SPEED)
        sim.reset(seed)
        found: list[Frame] = []
        states: list[tuple[tuple[float, np.ndarray], ...]] = [((0.0, sim.state()),)]
        while len(found) < frames and sim.steps + steps <= sim.max_steps:
            images = dict.fromkeys(cameras, sim.render())
            found.append(Frame(images, sim.state(), sim.steps * sim.PERIOD))
            heard = []
            for _ in range(steps):
                sim.step_action(expert.action(sim))
                heard.append((sim.steps * sim.PERIOD, sim.state()))
            states.append(tuple(heard))
        sim.close()
        scenes.append(RecordedScene(sim.instruction, tuple(found), tuple(states[: len(found)])))
    return scenes


def interleaved(
    variants: Mapping[str, Policy],
    scenes: Sequence[RecordedScene],
    spent: Tally | None = None,
) -> dict[str, Passes]:
    """Return the costs of all variants; every frame is seen by all before the next one."""
    found = {name: Passes() for name in variants}
    for name, scene, index, counted in turns(variants, scenes):
        run_frame(variants[name], scene, index, found[name] if counted else Passes(), spent)
    return found


def turns(
    variants: Mapping[str, Policy], scenes: Sequence[RecordedScene]
) -> Iterator[tuple[str, RecordedScene, int, bool]]:
    """Yield which variant sees which frame next, and whether it counts; the first only warm up.

    All are reset before each scene, and the order turns round from frame to frame, so that nobody
    always finds the warm cache.
    """
    count = 0
    for scene in scenes:
        for stages in variants.values():
            stages.reset()
        for index in range(len(scene.frames)):
            names = list(variants)
            for name in names if count % 2 == 0 else reversed(names):
                yield name, scene, index, count >= WARM_UP_FRAMES
            count += 1


def run_frame(
    stages: Policy,
    scene: RecordedScene,
    index: int,
    passes: Passes,
    spent: Tally | None = None,
) -> Plan | None:
    """Perceive and plan on one frame, and note what it cost."""
    if spent is not None:
        spent.take()
    for stamp, state in scene.states[index]:
        stages.reasoner.observe(state, stamp)
    records = {'perception': passes.perception, 'reasoner': passes.reasoner}
    plan = plan_from(stages, scene.frames[index], scene.instruction, records)
    if plan is not None:
        passes.plan_ms.append(sum(record.latency_ms[-1] for record in records.values()))
        if spent is not None:
            passes.parts_ms.append(spent.take() * 1e3)
    return plan


def count_flops(stages: Policy, scenes: Sequence[RecordedScene]) -> float:
    """Return the mean FLOPs of the reasoner's decoder a plan, NaN where an engine hides them."""
    reasoner: Any = stages.reasoner
    counts = []
    with metered(reasoner.trunk.decoder) as meter:
        for scene in scenes:
            stages.reset()
            for index in range(len(scene.frames)):
                run_frame(stages, scene, index, Passes())
                counts.append(meter.take())
    counts = [count for count in counts if count]
    return float(np.mean(counts)) if counts else float('nan')


def measure_cost(
    policy: Path,
    base: Mapping[str, Mapping[str, Any]],
    words: Sequence[str],
    scenes: Sequence[RecordedScene],
) -> dict[str, Any]:
    """Return latencies, tokens and FLOPs beside those of dense, measured in turn with it."""
    settings = build_settings(merged(base, parse_overrides(words)))
    variants = {
        'dense': Policy.from_settings(policy, build_settings(base)),
        'method': Policy.from_settings(policy, settings),
    }
    found = interleaved(variants, scenes)
    flops = {name: count_flops(stages, scenes) for name, stages in variants.items()}
    dense, method = found['dense'], found['method']
    return {
        **latency_columns('perception', method.perception.latency_ms, dense.perception.latency_ms),
        **latency_columns('reasoner', method.reasoner.latency_ms, dense.reasoner.latency_ms),
        **latency_columns('plan', method.plan_ms, dense.plan_ms),
        'reasoner_gflops': flops['method'] / 1e9,
        'reasoner_flops_ratio': flops['method'] / flops['dense'],
        'tokens_total': float(np.mean(method.reasoner.tokens_total)),
        'tokens_kept': float(np.mean(method.reasoner.tokens_kept)),
        'tokens_cached': float(np.mean(method.perception.tokens_reused)),
        'tokens_reused': float(np.mean(method.reasoner.tokens_reused)),
        'frames': len(method.perception.latency_ms),
    }


def latency_columns(stage: str, mine: Sequence[float], dense: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and mean of a stage [ms], and its p50 as a ratio to that of dense."""
    p50, p95 = np.percentile(mine, (50, 95))
    reference = float(np.median(dense))
    return {
        f'{stage}_p50_ms': float(p50),
        f'{stage}_p95_ms': float(p95),
        f'{stage}_mean_ms': float(np.mean(mine)),
        f'dense_{stage}_p50_ms': reference,
        f'{stage}_ratio': float(p50) / reference,
    }


@contextmanager
def stopwatch(places: Sequence[tuple[Any, str]]) -> Iterator[Tally]:
    """Count the seconds in the functions (owner, attribute), none of which calls another."""
    spent = Tally()
    originals = [(owner, name, getattr(owner, name)) for owner, name in places]
    for owner, name, function in originals:
        setattr(owner, name, _timed(function, spent))
    try:
        yield spent
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def _timed(function: Callable[..., Any], spent: Tally) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments, **keywords)
        finally:
            spent.add(time.perf_counter() - start)

    return call
