# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole-stage latency of each technique alone, against dense in the same run.

All variants see the same frames in turn, so that a machine that slows down slows all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla import unfinished
from efficient_vla.bench.lockstep import new_records, plan_from, timed
from efficient_vla.bench.overrides import build_settings, merged, parse_overrides
from efficient_vla.bringup.deployment import values_of
from efficient_vla.policy import Policy
from efficient_vla.records import StageRecord
from efficient_vla.sim.metaworld.scene import MAX_STEPS, MetaWorldSim
from efficient_vla.types import Frame, Plan

DENSE = 'dense'
VARIANTS: dict[str, tuple[str, ...]] = {
    DENSE: (),
    'fastv 0.5': ('reasoner.pruning.method=fastv', 'reasoner.pruning.keep=0.5'),
    'uniform 0.5': ('reasoner.pruning.method=uniform', 'reasoner.pruning.keep=0.5'),
    'random 0.5': ('reasoner.pruning.method=random', 'reasoner.pruning.keep=0.5'),
    'cache reuse': ('perception.cache.method=reuse',),
    'cache skip': ('perception.cache.method=skip',),
    'bf16': ('reasoner.quantization.mode=bf16',),
    'int8_dynamic': ('reasoner.quantization.mode=int8_dynamic',),
}
FRAME_PERIOD_S = 0.1
WARM_UP_FRAMES = 3
"""The first passes allocate memory and choose kernels; they are not counted."""


def frames_of_motion(task: str, count: int, still: float, size: int = 480) -> list[np.ndarray]:
    """Return images of an arm that moves, then rests for the share ``still`` of the frames."""
    sim = MetaWorldSim(task, 'fast', size)
    sim.reset(0)
    home = sim.setpoint()
    steps = round(FRAME_PERIOD_S / sim.PERIOD)
    images = []
    for index in range(count):
        if index < count * (1 - still):
            for step in range(steps):
                angle = 2 * np.pi * (index * steps + step) / (10 * steps)
                sway = 0.08 * np.array([np.sin(angle), 0.0, np.sin(2 * angle)])
                if sim.steps < MAX_STEPS:
                    sim.step(np.append(home + sway, 0.0))
        images.append(sim.render())
    sim.close()
    return images


@dataclass
class Variant:
    """One way to configure the stages, and what it cost."""

    stages: Policy
    records: dict[str, StageRecord]
    plan: Plan | None = None


def measure(
    policy: Path,
    images: Sequence[np.ndarray],
    instruction: str,
    manifest: Mapping[str, Any],
    names: Sequence[str] = tuple(VARIANTS),
    on_pass: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Return ``variants``, those with their stages, and the manifest."""
    variants = {name: _load(policy, VARIANTS[name]) for name in names}

    def found() -> dict[str, Any]:
        return {'variants': _found(variants), 'manifest': manifest}

    with unfinished.carrying(found):
        for index, image in enumerate(images):
            for variant in variants.values():
                _run_frame(variant, image, index, instruction)
                if on_pass:
                    on_pass()
    return found()


def _found(variants: Mapping[str, Variant]) -> dict[str, Any]:
    """Return variant -> stage -> latencies, tokens and memory, with p50 relative to dense."""
    found = {
        name: {stage: record.summary() for stage, record in variant.records.items()}
        for name, variant in variants.items()
    }
    dense = found.get(DENSE)
    if dense:
        for stages in found.values():
            for stage, row in stages.items():
                whole = dense[stage]['latency_ms']['p50']
                row['p50_to_dense'] = row['latency_ms']['p50'] / whole if whole else None
    return found


def _load(policy: Path, words: Sequence[str]) -> Variant:
    given = merged(values_of(policy), parse_overrides(words))
    stages = Policy.from_settings(policy, build_settings(given))
    stages.reset()
    return Variant(stages, new_records(stages))


def _run_frame(variant: Variant, image: np.ndarray, index: int, instruction: str) -> None:
    stages = variant.stages
    state = np.zeros(len(stages.actor.state_names), np.float32)
    frame = Frame(dict.fromkeys(stages.perception.cameras, image), state, index * FRAME_PERIOD_S)
    records = variant.records if index >= WARM_UP_FRAMES else new_records(stages)
    variant.plan = plan_from(stages, frame, instruction, records) or variant.plan
    assert variant.plan is not None
    timed(records['actor'], stages.actor.chunk, variant.plan, frame)
