# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of a LeRobotDataset, with LeRobot's own arithmetic (0.6, datasets/compute_stats.py).

Every episode has its own; those of the dataset are their means, weighted by the frames counted.
Quantiles are read off a histogram, and only some images are looked at, so the numbers are
LeRobot's rather than exact. Precision is LeRobot's too: float32 where the data are that or less.
"""

from collections.abc import Sequence

import numpy as np

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
BINS = 5000
MARGIN = 1e-10
"""The first and last edge of the histogram lie this far outside the data."""
IMAGE_LIMIT = 300
"""Larger images are thinned out to about half of this before they are looked at."""

Statistics = dict[str, np.ndarray]


def of_vectors(values: np.ndarray) -> Statistics:
    """Return the statistics of ``values`` [T] or [T, D]: each [D], ``count`` [1]."""
    rows = values.reshape(len(values), -1)
    return _statistics(rows) | {'count': np.array([len(rows)])}


def of_images(images: np.ndarray) -> Statistics:
    """Return the statistics of ``images``, uint8 [T, rows, columns, 3].

    Each is [3, 1, 1] and of values in [0, 1].
    """
    looked_at = images[sampled(len(images))]
    rows, columns = looked_at.shape[1:3]
    if max(rows, columns) >= IMAGE_LIMIT:
        longer = columns if columns > rows else rows
        step = int(longer / (IMAGE_LIMIT // 2))
        looked_at = looked_at[:, ::step, ::step]
    found = _statistics(looked_at.reshape(-1, 3))
    scaled = {name: value.reshape(3, 1, 1) / 255.0 for name, value in found.items()}
    return scaled | {'count': np.array([len(looked_at)])}


def sampled(length: int) -> np.ndarray:
    """Return which frames of an episode are looked at: all of a hundred, fewer of more."""
    number = max(min(100, length), min(int(length**0.75), 10_000))
    return np.round(np.linspace(0, length - 1, number)).astype(int)


def combined(episodes: Sequence[Statistics]) -> Statistics:
    """Return the statistics of several episodes of one feature together."""
    stacked = {name: np.stack([one[name] for one in episodes]) for name in episodes[0]}
    count = stacked.pop('count')  # [E, 1]
    total = count.sum(0)
    weights = count.reshape(-1, *[1] * (stacked['mean'].ndim - 1))

    def weighted(values: np.ndarray) -> np.ndarray:
        return np.asarray((values * weights).sum(0) / total)

    mean = weighted(stacked['mean'])
    variance = weighted(stacked['std'] ** 2 + (stacked['mean'] - mean) ** 2)
    return {
        **{name: weighted(values) for name, values in stacked.items()},
        'min': stacked['min'].min(0),
        'max': stacked['max'].max(0),
        'mean': mean,
        'std': np.sqrt(variance),
        'count': total,
    }


def _statistics(rows: np.ndarray) -> Statistics:
    """Return the statistics of ``rows`` [N, D], each [D]."""
    rows = rows.astype(np.result_type(rows.dtype, np.float32), copy=False)
    mean = rows.mean(0)
    found = {'min': rows.min(0), 'max': rows.max(0), 'mean': mean}
    if len(rows) < 2:
        names = [_name(quantile) for quantile in QUANTILES]
        return found | {'std': rows.std(0)} | dict.fromkeys(names, mean)
    variance = (rows**2).mean(0) - mean**2
    quantiles = np.stack([_quantiles(column) for column in rows.T], axis=1)  # [Q, D]
    return (
        found
        | {'std': np.sqrt(np.maximum(0, variance))}
        | {_name(quantile): row for quantile, row in zip(QUANTILES, quantiles, strict=True)}
    )


def _name(quantile: float) -> str:
    return f'q{int(quantile * 100):02d}'


def _quantiles(column: np.ndarray) -> np.ndarray:
    """Return the quantiles of ``column`` [N] by linear interpolation in its histogram."""
    edges = np.linspace(column.min() - MARGIN, column.max() + MARGIN, BINS + 1)
    counts = np.histogram(column, edges)[0]
    below = np.cumsum(counts.astype(float))
    found = []
    for wanted in np.array(QUANTILES) * len(column):
        bin_ = int(np.searchsorted(below, wanted))
        if bin_ == 0:
            found.append(edges[0])
            continue
        inside = (wanted - below[bin_ - 1]) / (below[bin_] - below[bin_ - 1])
        found.append(edges[bin_] + inside * (edges[bin_ + 1] - edges[bin_]))
    return np.array(found)
