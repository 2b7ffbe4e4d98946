# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a pass saved: measured against full passes of the same stage in the same run."""

import math
import statistics
from collections import deque

WARM_UP_PASSES = 2
"""First passes allocate and compile; a median of those alone would make all others look cheap."""
WINDOW_PASSES = 50


class Savings:
    """Compare each pass of a stage with its recent full passes.

    A full pass reuses nothing and drops nothing. Where none happened for a while, the last ones
    still count: the stage is the same, and a refresh brings new ones.
    """

    def __init__(self, window: int = WINDOW_PASSES, warm_up: int = WARM_UP_PASSES) -> None:
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
        return statistics.median(self._full) - milliseconds if self._full else math.nan
