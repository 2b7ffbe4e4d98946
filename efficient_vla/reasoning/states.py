# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""States of the robot, for plans that depend on the one of their frame."""

from collections import deque

import numpy as np

from efficient_vla.types import InvalidRecordError

REMEMBERED_S = 10.0
"""Robot states of so long are remembered [s]."""
MAX_SKEW_S = 0.5
"""A state further from the frame than that says nothing about it [s]."""


class States:
    """The states of the last seconds."""

    def __init__(self) -> None:
        self._known: deque[tuple[float, np.ndarray]] = deque()

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()

    def add(self, state: np.ndarray, stamp: float) -> None:
        """Take in a state [S] at ``stamp`` [s]; where time jumped back, earlier ones are void."""
        if self._known and stamp < self._known[-1][0]:
            self._known.clear()
        self._known.append((stamp, state))
        while self._known[0][0] < stamp - REMEMBERED_S:
            self._known.popleft()

    def nearest(self, stamp: float) -> np.ndarray:
        """Return the state [S] nearest to ``stamp`` [s], of two at one time the newer.

        Raises ``InvalidRecordError`` where none is near.
        """
        nearest = min(reversed(self._known), key=lambda one: abs(one[0] - stamp), default=None)
        if nearest is None or abs(nearest[0] - stamp) > MAX_SKEW_S:
            found = 'none came' if nearest is None else f'{abs(nearest[0] - stamp):.2f} s off'
            raise InvalidRecordError(
                f'no robot state for the frame: {found}; expected one within {MAX_SKEW_S} s, since '
                'the plan of this policy depends on it. Check the robot driver.'
            )
        return nearest[1]
