# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The learning rate over a stage."""

import numpy as np

WARMUP_STEPS = 100


def schedule(step: int, steps: int, warm_from: int = 0) -> float:
    """Return the fraction of the learning rate: a linear start, then a cosine to 2 %.

    The linear start begins at ``warm_from``, the step at which the optimizer was new.
    """
    cosine = 0.5 * (1 + np.cos(np.pi * step / steps))
    return min(1.0, (step - warm_from + 1) / WARMUP_STEPS) * (0.02 + 0.98 * cosine)
