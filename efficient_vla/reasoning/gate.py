# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the robot does fine work now, when tokens are given back.

Speed with hysteresis, or the extrema rule of ADP (arXiv 2509.22093, section 3): a window that moved
at least as far as the ones before may be pruned, one that moved less than all of them is seen in
full, and one between them leaves things as they are. A window is an executed chunk, from one plan
to the next, and what it moved is the net displacement, as in the released code. All thresholds are
in SI units of the robot's state; published ones are of normalised actions and do not transfer.
"""

from collections import deque

import numpy as np

from efficient_vla.reasoning.settings import GateSettings

SPEED_OVER_S = 0.15
"""The speed is that over this time: a single step of a simulator or an encoder is too coarse."""
STALE_S = 0.5
"""Motion that was observed longer ago says nothing about now."""
COMPARED_WINDOWS = 2
"""Windows that the newest one is compared with; tau - 1 of the paper's."""


class MotionGate:
    """Follow the end effector, and judge whether its work is fine."""

    def __init__(self, state_names: tuple[str, ...]) -> None:
        """Take x, y and z of the state where it has them, else all but the gripper."""
        cartesian = [state_names.index(axis) for axis in 'xyz' if axis in state_names]
        others = [i for i, name in enumerate(state_names) if 'gripper' not in name]
        self.cartesian = len(cartesian) == 3
        self._axes = cartesian if self.cartesian else others
        self.reset()

    def reset(self) -> None:
        """Forget all motion."""
        self._path: deque[tuple[float, np.ndarray]] = deque()
        self._windows: deque[float] = deque(maxlen=COMPARED_WINDOWS)
        self._window_start: tuple[float, np.ndarray] | None = None
        self._fine = True
        self._pruned_windows = 0

    @property
    def newest(self) -> tuple[float, np.ndarray] | None:
        """Stamp [s] and state [S] of the newest observation."""
        return self._path[-1] if self._path else None

    @property
    def position(self) -> np.ndarray | None:
        """Newest observed position, [3] where the state is Cartesian."""
        return self.place(self._path[-1][1]) if self._path else None

    def place(self, state: np.ndarray) -> np.ndarray:
        """Return x, y and z of a state [S], or its joints."""
        return np.asarray(state, np.float64)[self._axes]

    def observe(self, state: np.ndarray, stamp: float) -> None:
        """Take in the robot's state [S] at ``stamp`` [s]; a clock that jumps back starts anew."""
        if self._path and stamp <= self._path[-1][0]:
            if stamp == self._path[-1][0]:
                return
            self.reset()
        self._path.append((stamp, state))
        while len(self._path) > 2 and stamp - self._path[1][0] >= SPEED_OVER_S:
            self._path.popleft()

    def velocity(self, stamp: float) -> np.ndarray:
        """Return the velocity [m/s, or rad/s of joints] at ``stamp``, NaN where it is not known."""
        if len(self._path) < 2 or stamp - self._path[-1][0] > STALE_S:
            return np.full(len(self._axes), np.nan)
        (before, start), (now, end) = self._path[0], self._path[-1]
        return (self.place(end) - self.place(start)) / (now - before)

    def speed(self, stamp: float) -> float:
        """Return the length of the velocity."""
        return float(np.linalg.norm(self.velocity(stamp)))

    def vertical(self, stamp: float) -> float:
        """Return the velocity along z, above 0 upwards [m/s]; NaN also of a state of joints."""
        return float(self.velocity(stamp)[2]) if self.cartesian else float('nan')

    def judge(self, stamp: float, gate: GateSettings) -> str:
        """Return why a plan is to see all tokens, or nothing where the work is coarse."""
        if gate.method == 'none':
            return ''
        speed = self.speed(stamp)
        if np.isnan(speed):
            self._fine = True
            return 'motion unknown'
        if gate.method == 'extrema':
            self._end_window(gate)
            windows = ', '.join(f'{moved:.3f}' for moved in self._windows)
            return f'fine work, windows moved {windows} m' if self._fine else ''
        if speed < gate.slow:
            self._fine = True
        elif speed > gate.fast:
            self._fine = False
        return f'fine work at {speed:.3f} m/s' if self._fine else ''

    def _end_window(self, gate: GateSettings) -> None:
        stamp, state = self._path[-1]
        if self._window_start is None:
            self._window_start = (stamp, state)
        began, start = self._window_start
        if stamp == began or stamp - began < gate.window:
            return
        moved = float(np.linalg.norm(self.place(state) - self.place(start)))
        self._window_start = (stamp, state)
        if len(self._windows) == COMPARED_WINDOWS:
            if moved >= max(self._windows):
                self._fine = False
            elif moved < min(self._windows):
                self._fine = True
        self._windows.append(moved)
        self._pruned_windows = 0 if self._fine else self._pruned_windows + 1
        if self._pruned_windows > gate.max_pruned:
            self._fine, self._pruned_windows = True, 0
