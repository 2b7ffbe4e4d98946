# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The delay of a chunk in rows that the robot executed, not in time that passed."""

import math

from efficient_vla.control.trajectory import Trajectory


def executed_rows(newest: Trajectory, before: Trajectory | None, clock: float) -> float:
    """Return the rows of ``before`` that were executed while ``newest``, here now, was made.

    NaN where no chunk moved the robot up to now: at the start, after a hold and after a pause. The
    clock of ``newest`` stood still whenever the robot did, so that time in which a model warmed up
    never counts. What a head conditions on with it: real-time chunking, arXiv 2506.07339.
    """
    if before is None:
        return math.nan
    return max(clock - newest.start, 0.0) / before.chunk.dt
