# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of a running stage: latencies, what its passes saved, rates and memory."""

import math
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

WARM_UP_PASSES = 2
"""First passes allocate and compile; counted into percentiles they would hide everything else."""
WINDOW_PASSES = 300
FULL_PASSES = 50
"""Full passes that what a pass saved is measured against."""
PAGE_BYTES = os.sysconf('SC_PAGE_SIZE')


class LatencyWindow:
    """Percentiles over the recent passes without the warm-up."""

    def __init__(self, size: int = WINDOW_PASSES, warm_up: int = WARM_UP_PASSES) -> None:
        self.count = 0
        self.last = 0.0
        """The newest latency [ms]."""
        self._warm_up = warm_up
        self._values: deque[float] = deque(maxlen=size)

    def add(self, milliseconds: float) -> None:
        """Count one pass."""
        self.count += 1
        self.last = milliseconds
        if self.count > self._warm_up:
            self._values.append(milliseconds)

    def percentiles(self) -> tuple[float, float, float]:
        """Return the 50th, 95th and 99th percentile [ms], NaN before the warm-up is over."""
        if not self._values:
            return (float('nan'),) * 3
        p50, p95, p99 = np.percentile(np.fromiter(self._values, np.float64), (50, 95, 99))
        return float(p50), float(p95), float(p99)


class Savings:
    """Compare each pass of a stage with its recent full passes.

    A full pass reuses nothing and drops nothing. Where none happened for a while, the last ones
    still count: the stage is the same, and a refresh brings new ones.
    """

    def __init__(self, window: int = FULL_PASSES, warm_up: int = WARM_UP_PASSES) -> None:
        """Remember ``window`` full passes; the first ``warm_up`` passes do not count."""
        self._full: deque[float] = deque(maxlen=window)
        self._left = warm_up

    def add(self, milliseconds: float, full: bool) -> float:
        """Count one pass and return the median full pass minus this one [ms].

        NaN during the warm-up and while no full pass is known; below 0 where a technique costs
        more than it saves. A full pass is part of the median that it is compared with.
        """
        if self._left > 0:
            self._left -= 1
            return math.nan
        if full:
            self._full.append(milliseconds)
        return float(np.median(self._full)) - milliseconds if self._full else math.nan


class RateMeter:
    """Events a second over a sliding window of monotonic time."""

    def __init__(
        self, window_s: float = 5.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._window_s = window_s
        self._monotonic = monotonic
        self._times: deque[float] = deque()

    def tick(self) -> None:
        """Count one event."""
        self._times.append(self._monotonic())
        self._trim()

    def rate(self) -> float:
        """Return the present rate [Hz]; it falls while no event comes."""
        self._trim()
        if len(self._times) < 2:
            return 0.0
        first, last = self._times[0], self._times[-1]
        # The open gap counts once it is longer than the usual one.
        usual = (last - first) / (len(self._times) - 1)
        span = max(last - first, self._monotonic() - first - usual)
        return (len(self._times) - 1) / span if span > 0 else 0.0

    def _trim(self) -> None:
        oldest = self._monotonic() - self._window_s
        while self._times and self._times[0] < oldest:
            self._times.popleft()


def resident_mb() -> float:
    """Return the resident memory of this process in units of 1e6 bytes; NaN where unknown."""
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return float('nan')
    return pages * PAGE_BYTES / 1e6


class TimeHistogram:
    """Times since `restart`, in bins: percentiles of all of them at a fixed cost."""

    BINS = 4000

    def __init__(self, bin_ms: float) -> None:
        self._bin_ms = bin_ms
        self._counts = np.zeros(self.BINS, np.int64)

    def restart(self) -> None:
        """Forget all times."""
        self._counts[:] = 0

    def add(self, milliseconds: float) -> None:
        """Count one time."""
        self._counts[min(int(milliseconds / self._bin_ms), self.BINS - 1)] += 1

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile since ``restart`` [ms], NaN before the first time.

        It is the upper end of its bin, at most one bin too high; ``BINS`` is where they end.
        """
        sums = np.cumsum(self._counts)
        if not sums[-1]:
            return float('nan')
        rank = int(np.searchsorted(sums, percent / 100 * sums[-1]))
        return (rank + 1) * self._bin_ms


class PeriodMeter:
    """Periods of a loop: mean of the last second, and percentiles since `restart`."""

    BIN_MS = 0.05

    def __init__(self) -> None:
        self._last: float | None = None
        self._recent: deque[tuple[float, float]] = deque()
        self._histogram = TimeHistogram(self.BIN_MS)

    def restart(self) -> None:
        """Forget all periods."""
        self._last = None
        self._recent.clear()
        self._histogram.restart()

    def tick(self, now: float) -> None:
        """Count one pass of the loop at monotonic time ``now`` [s]."""
        if self._last is not None:
            period_ms = (now - self._last) * 1e3
            self._histogram.add(period_ms)
            self._recent.append((now, period_ms))
            while self._recent[0][0] < now - 1.0:
                self._recent.popleft()
        self._last = now

    def mean_ms(self) -> float:
        """Return the mean period of the last second [ms], NaN before the first one."""
        if not self._recent:
            return float('nan')
        (first, period_ms), (last, _) = self._recent[0], self._recent[-1]
        return ((last - first) * 1e3 + period_ms) / len(self._recent)

    def rate_hz(self) -> float:
        """Return passes a second in the last second [Hz]."""
        mean = self.mean_ms()
        return 1e3 / mean if mean > 0 else 0.0

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the period since ``restart`` [ms], NaN before the first one."""
        return self._histogram.percentile_ms(percent)
