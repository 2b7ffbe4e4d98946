# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a head costs on recorded plans, and how far its chunks are from those of its reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.tokens.latency import WARM_UP_FRAMES, Passes, RecordedScene, run_frame
from efficient_vla.policy import Policy
from efficient_vla.stages import ActorStage
from efficient_vla.types import ActionChunk, Execution, Frame, Plan

DELAY_ROWS = 8
"""The delay that the controller is taken to have measured: 0.1 s of rows of 12.5 ms."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A plan and the robot's state at its frame; ``first`` of a scene."""

    plan: Plan
    frame: Frame
    first: bool


@dataclass(slots=True)
class HeadPasses:
    """What one head did, an entry a plan."""

    latency_ms: list[float] = field(default_factory=list)
    chunks: list[ActionChunk] = field(default_factory=list)


def record_plans(stages: Policy, scenes: Sequence[RecordedScene]) -> list[Situation]:
    """Return the dense plans of recorded frames."""
    found = []
    for scene in scenes:
        stages.reset()
        for index, frame in enumerate(scene.frames):
            plan = run_frame(stages, scene, index, Passes())
            assert plan is not None
            found.append(Situation(plan, Frame({}, frame.state, frame.stamp), index == 0))
    return found


def in_turn(
    actors: Mapping[str, ActorStage],
    blendings: Mapping[str, str],
    situations: Sequence[Situation],
    rounds: int,
) -> dict[str, HeadPasses]:
    """Return what all heads do with each plan before the next; the order turns round each time.

    Each chunk is taken for executed from its observation on, by a controller with the head's entry
    of ``blendings``. The first plans only warm up for the latencies; later rounds add latencies,
    and no chunks.
    """
    found = {name: HeadPasses() for name in actors}
    count = 0
    for turn in range(rounds):
        for situation in situations:
            names = list(actors)
            for name in names if count % 2 == 0 else reversed(names):
                actor = actors[name]
                if situation.first:
                    actor.reset()
                chunk = actor.chunk(situation.plan, situation.frame)
                actor.note_execution(
                    Execution(chunk.stamp, chunk.stamp, 0.0, 1.0, DELAY_ROWS, blendings[name])
                )
                if count >= WARM_UP_FRAMES:
                    found[name].latency_ms.append(chunk.latency_ms)
                if turn == 0:
                    found[name].chunks.append(chunk)
            count += 1
    return found


def columns(mine: HeadPasses, reference: HeadPasses, regression: HeadPasses) -> dict[str, Any]:
    """Return latencies, passes and distances to the reference on the same plans."""
    p50, p95 = np.percentile(mine.latency_ms, (50, 95))
    base = float(np.median(reference.latency_ms))
    pairs = list(zip(mine.chunks, reference.chunks, strict=True))
    gaps = [path_gap(a, b) for a, b in pairs]
    same = [np.array_equal(a.actions, b.actions) for a, b in pairs]
    return {
        'head_p50_ms': float(p50),
        'head_p95_ms': float(p95),
        'reference_p50_ms': base,
        'speed_up': base / float(p50),
        'regression_p50_ms': float(np.median(regression.latency_ms)),
        'steps': float(np.mean([chunk.steps for chunk in mine.chunks])),
        'mended': float(np.mean([bool(chunk.note) for chunk in mine.chunks])),
        'same_chunks': float(np.mean(same)),
        'gap_mean_mm': float(np.mean(gaps)),
        'gap_max_mm': float(np.max(gaps)),
        'plans': len(mine.chunks),
    }


def path_gap(one: ActionChunk, other: ActionChunk) -> float:
    """Return how far the paths of two chunks are apart at most [mm]."""
    difference = (one.actions - other.actions)[:, :3].astype(np.float64).cumsum(0)
    return float(np.linalg.norm(difference, axis=1).max() * 1e3)
