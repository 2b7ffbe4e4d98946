# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How long a robot that takes velocities is told to stand still."""

import math

import numpy as np

ZEROS_S = 0.25
"""Zero velocity is repeated for this long: above the timeout of MoveIt Servo, 0.1 s, so that a
late message does not make it warn, and short, so that other inputs of Servo are heard again."""


class Ending:
    """Says whether a velocity has to be sent: any motion, and zeros for a moment after it."""

    def __init__(self) -> None:
        self.pending = False
        self._until = -math.inf

    def wants(self, velocity: np.ndarray, stamp: float) -> bool:
        """Return whether ``velocity`` [M] at ``stamp`` [s] has to be sent."""
        if velocity.any():
            self._until = stamp + ZEROS_S
            self.pending = True
            return True
        # The clock may have jumped back.
        self.pending = self.pending and self._until - ZEROS_S <= stamp < self._until
        return self.pending
