# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What every technique costs beside dense, on the same recorded frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tokens.conditions import Condition
from benchmarks.tokens.latency import RecordedScene, count_flops, interleaved
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
