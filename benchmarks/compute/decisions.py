# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What whole decisions cost on recorded frames, dense and one other in turn, and how far apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decoding.latency import path_gap
from benchmarks.job import SINGLE
from benchmarks.tokens.latency import (
    Passes,
    RecordedScene,
    count_flops,
    latency_columns,
    run_frame,
    turns,
)
from efficient_vla.bench.lockstep import timed
from efficient_vla.bench.overrides import build_settings, merged, parse_overrides
from efficient_vla.policy import Policy
from efficient_vla.records import StageRecord
from efficient_vla.types import ActionChunk


@dataclass(slots=True)
class Decisions:
    """What one variant did, an entry a frame but in the lists of stages that were skipped."""

    passes: Passes = field(default_factory=Passes)
    actor: StageRecord = field(default_factory=StageRecord)
    decision_ms: list[float] = field(default_factory=list)
    """All stages of the same frame."""
    chunks: list[ActionChunk] = field(default_factory=list)


def in_turn(
    variants: Mapping[str, Policy], scenes: Sequence[RecordedScene]
) -> dict[str, Decisions]:
    """Return the decisions of all variants; every frame is seen by all before the next one.

    The first frames only warm up for the latencies.
    """
    found = {name: Decisions() for name in variants}
    for name, scene, index, counted in turns(variants, scenes):
        mine, stages = found[name], variants[name]
        now = mine if counted else Decisions()
        plan = run_frame(stages, scene, index, now.passes)
        if plan is None:
            continue
        chunk = timed(now.actor, stages.actor.chunk, plan, scene.frames[index])
        now.decision_ms.append(now.passes.plan_ms[-1] + now.actor.latency_ms[-1])
        mine.chunks.append(chunk)
    return found


def load(policy: Path, words: Sequence[str] = ()) -> Policy:
    """Return the policy with these parameters, dense without any."""
    return Policy.from_settings(policy, build_settings(merged(SINGLE, parse_overrides(words))))


def measure_cost(
    policy: Path, words: Sequence[str], scenes: Sequence[RecordedScene]
) -> dict[str, Any]:
    """Return latencies of all stages, FLOPs and the gap to the chunks of dense."""
    dense, method = load(policy), load(policy, words)
    columns = measure_latency(dense, method, scenes)
    flops, of_dense = count_flops(method, scenes), count_flops(dense, scenes)
    return {
        **columns,
        'reasoner_gflops': flops / 1e9,
        'reasoner_flops_ratio': flops / of_dense,
    }


def measure_latency(
    dense_stages: Policy, method_stages: Policy, scenes: Sequence[RecordedScene]
) -> dict[str, Any]:
    """Return latencies of all stages, weights and the gap to the chunks of dense."""
    variants = {'dense': dense_stages, 'method': method_stages}
    found = in_turn(variants, scenes)
    dense, method = found['dense'], found['method']
    pairs = list(zip(method.chunks, dense.chunks, strict=True))
    gaps = [path_gap(one, other) for one, other in pairs]
    columns: dict[str, Any] = {}
    for name, mine, reference in (
        ('perception', method.passes.perception.latency_ms, dense.passes.perception.latency_ms),
        ('reasoner', method.passes.reasoner.latency_ms, dense.passes.reasoner.latency_ms),
        ('actor', method.actor.latency_ms, dense.actor.latency_ms),
        ('decision', method.decision_ms, dense.decision_ms),
    ):
        columns |= latency_columns(name, mine, reference)
        columns[f'dense_{name}_mean_ms'] = float(np.mean(reference))
    return {
        **columns,
        'weights_mb': _weights_mb(method_stages),
        'dense_weights_mb': _weights_mb(dense_stages),
        'gap_mean_mm': float(np.mean(gaps)),
        'gap_max_mm': float(np.max(gaps)),
        'frames': len(method.decision_ms),
    }


def _weights_mb(stages: Policy) -> float:
    parts = (stages.perception, stages.reasoner, stages.actor)
    return sum(part.parameters_mb for part in parts)
