# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of success rates and latencies."""

import math
from collections.abc import Sequence

import numpy as np

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate.

    Unlike the normal approximation it stays inside [0, 1] and is not empty at 0 % or 100 %.
    Without trials nothing is known, so the interval is (0, 1). Source: Wilson, 1927.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f'{successes} successes of {trials} trials; expected 0 to {trials}.')
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the exact two-sided p value of McNemar's test for paired successes.

    Pair ``i`` is the same task and seed under two conditions. Only pairs that differ say anything;
    without any the value is 1. Source: McNemar, 1947, with the exact binomial distribution.
    """
    if len(first) != len(second):
        raise ValueError(f'{len(first)} and {len(second)} outcomes; expected pairs.')
    only_first = sum(bool(a) and not b for a, b in zip(first, second, strict=True))
    only_second = sum(bool(b) and not a for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 of the finite values, linearly interpolated; all 0 without any."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return {'p50': 0.0, 'p95': 0.0, 'p99': 0.0}
    p50, p95, p99 = np.percentile(finite, (50, 95, 99))
    return {'p50': float(p50), 'p95': float(p95), 'p99': float(p99)}
