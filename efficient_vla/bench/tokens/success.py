# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Success and cost of every technique on the same scenes, paired with dense."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla.bench.compare import TOTAL
from efficient_vla.bench.compare import Outcomes
from efficient_vla.bench.compare import compare
from efficient_vla.bench.compare import outcomes
from efficient_vla.bench.conditions import OnResult
from efficient_vla.bench.conditions import merged
from efficient_vla.bench.evaluate import Request
from efficient_vla.bench.evaluate import evaluate
from efficient_vla.bench.evaluate import load_stages
from efficient_vla.bench.overrides import build_settings
from efficient_vla.bench.overrides import parse_overrides
from efficient_vla.bench.statistics import wilson_interval
from efficient_vla.bench.tokens.conditions import Condition
from efficient_vla.bench.tokens.latency import Passes
from efficient_vla.bench.tokens.latency import Scene
from efficient_vla.bench.tokens.latency import count_flops
from efficient_vla.bench.tokens.latency import interleaved


def measure_success(
    request: Request, condition: Condition, on_result: OnResult | None = None
) -> Outcomes:
    """Return (task, seed) -> success under a condition."""
    overrides = merged(request.overrides, parse_overrides(condition.words))
    return outcomes(evaluate(replace(request, overrides=overrides), on_result))


def success_columns(seen: Outcomes, dense: Outcomes) -> dict[str, Any]:
    """Return rate, interval and the pairs that differ from dense, by exact McNemar test."""
    successes, count = sum(seen.values()), len(seen)
    low, high = wilson_interval(successes, count)
    paired = compare(dense, seen)[TOTAL]
    tasks = {f'success {task}': row['second'] for task, row in compare(dense, seen).items()}
    tasks.pop(f'success {TOTAL}')
    return {
        'success_rate': successes / count,
        'ci_low': low,
        'ci_high': high,
        'episodes': count,
        'dense_success_rate': paired['first'],
        'pairs': paired['pairs'],
        'only_dense': paired['only_first'],
        'only_method': paired['only_second'],
        'p_value': paired['p_value'],
        **tasks,
        'outcomes': written(seen),
    }


def written(seen: Outcomes) -> str:
    """Return outcomes as one word a task, such as ``reach-v3:1000:1101``, for a flat row."""
    words = []
    for task in dict.fromkeys(task for task, _ in seen):
        seeds = sorted(seed for name, seed in seen if name == task)
        words.append(f'{task}:{seeds[0]}:' + ''.join(str(int(seen[task, s])) for s in seeds))
    return ' '.join(words)


def read(text: str) -> Outcomes:
    """Return the outcomes that ``written`` wrote."""
    found: Outcomes = {}
    for word in text.split():
        task, first, marks = word.split(':')
        found.update({(task, int(first) + i): mark == '1' for i, mark in enumerate(marks)})
    return found


def measure_cost(
    policy: Path,
    base: Mapping[str, Mapping[str, Any]],
    condition: Condition,
    scenes: Sequence[Scene],
) -> dict[str, Any]:
    """Return latencies, tokens and FLOPs beside those of dense, measured in turn with it."""
    settings = build_settings(merged(base, parse_overrides(condition.words)))
    variants = {
        'dense': load_stages(policy, build_settings(base)),
        'method': load_stages(policy, settings),
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
