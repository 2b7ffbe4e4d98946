# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Polynomials of degree five, which meet value, slope and bend at both of their ends."""

import numpy as np


def derivatives(x: float) -> np.ndarray:
    """Return what turns coefficients [6, M] into value and first two derivatives at ``x``."""
    x2, x3 = x * x, x * x * x
    return np.array(
        [
            [1.0, x, x2, x3, x2 * x2, x2 * x3],
            [0.0, 1.0, 2 * x, 3 * x2, 4 * x3, 5 * x2 * x2],
            [0.0, 0.0, 2.0, 6 * x, 12 * x2, 20 * x3],
        ]
    )


def quintic(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the coefficients [6, ...] of what goes from ``begin`` at 0 to ``end`` at 1.

    Both are value, slope and bend [3, ...].
    """
    value, slope, bend = begin
    left = end - np.array([value + slope + bend / 2, slope + bend, bend])
    rest = np.tensordot(TO_REST, left, 1)
    return np.concatenate([np.array([value, slope, bend / 2]), rest])


TO_REST = np.array([[10.0, -4.0, 0.5], [-15.0, 7.0, -1.0], [6.0, -3.0, 0.5]])
"""From value, slope and bend at 1 to the last coefficients of what has none of them at 0."""
