# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What every technique costs beside dense, on the same recorded frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tokens.conditions import Condition
from benchmarks.tokens.latency import Passes, RecordedScene, count_flops, interleaved
from efficient_vla.bench.conditions import merged
from efficient_vla.bench.overrides import build_settings, parse_overrides
from efficient_vla.bench.rows import REFUSED
from efficient_vla.policy import Policy


def finished(row: Mapping[str, Any]) -> bool:
    """Return whether a row has all it should; cost and success of a method come apart."""
    halves = {'plan_ratio', 'success_rate'} if row['part'] == 'methods' else set()
    return REFUSED not in row and halves <= row.keys()


def measure_cost(
    policy: Path,
    base: Mapping[str, Mapping[str, Any]],
    condition: Condition,
    scenes: Sequence[RecordedScene],
) -> dict[str, Any]:
    """Return latencies, tokens and FLOPs beside those of dense, measured in turn with it."""
    settings = build_settings(merged(base, parse_overrides(condition.words)))
    variants = {
        'dense': Policy.from_settings(policy, build_settings(base)),
        'method': Policy.from_settings(policy, settings),
    }
    found = interleaved(variants, scenes)
    flops = {name: count_flops(stages, scenes) for name, stages in variants.items()}
    dense, method = found['dense'], found['method']
    return {
        **latency_columns(dense, method),
        'reasoner_gflops': flops['method'] / 1e9,
        'reasoner_flops_ratio': flops['method'] / flops['dense'],
        'tokens_total': float(np.mean(method.total)),
        'tokens_kept': float(np.mean(method.kept)),
        'tokens_cached': float(np.mean(method.cached)),
        'tokens_reused': float(np.mean(method.reused)),
        'frames': len(method.perception_ms),
    }


def latency_columns(dense: Passes, method: Passes) -> dict[str, float]:
    """Return p50 and p95 of both stages and of both together, and p50 as a ratio to dense."""
    found = {}
    for stage in ('perception', 'reasoner', 'plan'):
        mine, whole = getattr(method, f'{stage}_ms'), getattr(dense, f'{stage}_ms')
        p50, p95 = np.percentile(mine, (50, 95))
        reference = float(np.median(whole))
        found[f'{stage}_p50_ms'] = float(p50)
        found[f'{stage}_p95_ms'] = float(p95)
        found[f'{stage}_mean_ms'] = float(np.mean(mine))
        found[f'dense_{stage}_p50_ms'] = reference
        found[f'{stage}_ratio'] = float(p50) / reference
    return found
