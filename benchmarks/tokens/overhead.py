# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What selectors, gate, protection, budget and memory cost beside the pass that they shorten.

Two ways, both on the frames of the `methods` part. Direct: the time in the calls themselves, that
is selection (scores, protection, budget), motion gate, cache bookkeeping and memory
of scores. End to end: with ``keep`` so high that one token of V is dropped, the pass hardly gets
shorter, and the median difference to dense on the same frames is the price of everything, the extra
attention rows included. A method that keeps as few as it likes has no such number.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tokens.conditions import choices, pruning
from benchmarks.tokens.latency import RecordedScene, interleaved, stopwatch
from efficient_vla.bench.overrides import build_settings, parse_overrides
from efficient_vla.policy import Policy
from efficient_vla.reasoning import stage
from efficient_vla.reasoning.gate import MotionGate
from efficient_vla.reasoning.memory import ScoreMemory
from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.reasoning.reuse.vla_cache import VlaCache
from efficient_vla.reasoning.selection import TokenSelection

FOLLOWED: tuple[tuple[Any, str], ...] = (
    (TokenSelection, '__init__'),
    (TokenSelection, 'choose'),
    (MotionGate, 'observe'),
    (MotionGate, 'judge'),
    (ScoreMemory, 'update'),
    (VlaCache, 'begin'),
    (VlaCache, 'end'),
    (stage, 'protected'),
)
KEEP = 0.5
ALMOST = 2.0
"""Tokens that may be missing on average for the pass to count as a whole one."""
GATE = (
    'reasoner.pruning.gate.method=speed',
    'reasoner.pruning.gate.slow=0.0',
    'reasoner.pruning.gate.fast=0.0',
)
"""The gate follows and judges, and never gives the tokens of an arm that moves back."""
ONCE = 'reasoner.pruning.specprune.later=0.0'
REUSE_NOTHING = ('reasoner.reuse.method=vla_cache', 'reasoner.reuse.task_share=1.0')


def measured_methods() -> list[str]:
    """Return the selectors and reuse methods of this build."""
    selectors = [name for name in choices('reasoner.pruning.method') if name in METHODS]
    return selectors + list(choices('reasoner.reuse.method'))


def measure_overhead(policy: Path, method: str, scenes: Sequence[RecordedScene]) -> dict[str, Any]:
    """Return milliseconds and shares of the dense pass for one method with the speed gate."""
    dense = Policy.from_settings(policy, build_settings({}))
    whole = dense.perception.encode(scenes[0].frames[0])
    assert whole is not None
    total = len(whole.features)
    if method in METHODS:
        usual: tuple[str, ...] = (*pruning(method, KEEP).words, *GATE)
        nothing: tuple[str, ...] = (*pruning(method, 1 - 1 / total).words, *GATE, ONCE)
    else:
        usual, nothing = (f'reasoner.reuse.method={method}',), REUSE_NOTHING
    variants = {
        'dense': dense,
        'usual': Policy.from_settings(policy, build_settings(parse_overrides(usual))),
        'nothing': Policy.from_settings(policy, build_settings(parse_overrides(nothing))),
    }
    with stopwatch(FOLLOWED) as spent:
        found = interleaved(variants, scenes, spent)
    dense_ms = found['dense'].reasoner.latency_ms
    reference = float(np.median(dense_ms))
    direct = float(np.median(found['usual'].parts_ms))
    more = float(np.median(np.subtract(found['nothing'].reasoner.latency_ms, dense_ms)))
    if np.mean(found['nothing'].reasoner.tokens_kept) < total - ALMOST:
        more = float('nan')
    return {
        'dense_reasoner_p50_ms': reference,
        'direct_p50_ms': direct,
        'direct_p95_ms': float(np.percentile(found['usual'].parts_ms, 95)),
        'direct_percent': 100 * direct / reference,
        'end_to_end_ms': more,
        'end_to_end_percent': 100 * more / reference,
        'tokens_total': total,
        'frames': len(dense_ms),
    }
