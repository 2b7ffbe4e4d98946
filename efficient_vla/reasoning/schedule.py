# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which frames need no pass of the decoder: the plan before answers, with the state of now.

steady: FlashVLA's trigger (arXiv 2505.21200). The last two actions point the same way, and the last
two passes kept the same tokens: ``arccos(cos(A_s-2, A_s-1))`` is small and
``|I_s-2 n I_s-1| / |I_s-1|`` large. The printed inequality of the angle is the other way around,
which a reviewer took for a misprint; so does this. The thresholds are ours.

intuitive: the scheduler of SP-VLA (arXiv 2506.12723), as its released code is described: the last
action is level and not steep, and at least two thirds of the last six plans came from a pass. The
authors then extrapolate the last actions by ridge regression; here the head answers.

An action is what the robot moved from one plan to the next. After a change of the gripper, or a
number of such plans, everything is computed.
"""

from collections import deque

import numpy as np

from efficient_vla.reasoning.settings import ScheduleSettings

LEAST_MOVE = 1e-3
"""Displacement [m or rad] below which the robot stands and a direction means nothing."""
LEAST_GRIP = 0.05
"""Change of the gripper, as a share of its largest value, that counts."""
BUFFER, LEAST_COMPUTED = 6, 2 / 3
"""Plans that SP-VLA remembers, and the share of them that has to come from a pass."""


class PassSchedule:
    """Follow motion and kept tokens from plan to plan."""

    def __init__(self, state_names: tuple[str, ...]) -> None:
        """Start with no plan; ``state_names`` tell which numbers of a state are the gripper's."""
        self._gripper = [i for i, name in enumerate(state_names) if 'gripper' in name]
        self.reset()

    def reset(self) -> None:
        """Forget all plans."""
        self._moved: deque[np.ndarray] = deque(maxlen=2)
        self._newest: tuple[float, np.ndarray, np.ndarray] | None = None
        self._kept: deque[np.ndarray] = deque(maxlen=2)
        self._computed: deque[bool] = deque(maxlen=BUFFER)
        self._skipped = 0

    def judge(
        self, stamp: float, place: np.ndarray, state: np.ndarray, settings: ScheduleSettings
    ) -> str:
        """Return why the plan before may answer, or nothing.

        ``place`` is x, y and z [m] or the joints of the robot's ``state`` [S] at ``stamp`` [s].
        """
        before, self._newest = self._newest, (stamp, place, state)
        if before is None or stamp <= before[0]:
            self._moved.clear()
            return ''
        self._moved.append(place - before[1])
        grip, grip_before = state[self._gripper], before[2][self._gripper]
        largest = np.maximum(np.abs(grip), np.abs(grip_before))
        if (np.abs(grip - grip_before) > LEAST_GRIP * largest).any():
            return ''
        if self._skipped >= settings.max_skipped or not self._kept:
            return ''
        if settings.method == 'steady':
            return self._steady(settings)
        return self._intuitive(stamp - before[0], settings)

    def note(self, kept: np.ndarray | None) -> None:
        """Take note of the tokens that a pass kept, or ``None`` where the plan before answered."""
        self._computed.append(kept is not None)
        self._skipped = 0 if kept is not None else self._skipped + 1
        if kept is not None:
            self._kept.append(kept)

    def _steady(self, settings: ScheduleSettings) -> str:
        if len(self._moved) < 2 or len(self._kept) < 2:
            return ''
        lengths = [float(np.linalg.norm(moved)) for moved in self._moved]
        if min(lengths) < LEAST_MOVE:
            return ''
        cosine = float(self._moved[0] @ self._moved[1]) / (lengths[0] * lengths[1])
        angle = float(np.arccos(np.clip(cosine, -1.0, 1.0)))
        overlap = float(np.isin(self._kept[1], self._kept[0]).mean())
        if angle > settings.angle or overlap < settings.overlap:
            return ''
        return f'plan before: steady, {angle:.2f} rad, {overlap:.0%} of the tokens the same'

    def _intuitive(self, seconds: float, settings: ScheduleSettings) -> str:
        if len(self._computed) < BUFFER or np.mean(self._computed) < LEAST_COMPUTED:
            return ''
        moved = np.abs(self._moved[-1])
        across, up = float(moved[:2].max()), float(moved[2])
        if across < LEAST_MOVE or up >= settings.level * across:
            return ''
        return 'plan before: level' if up < settings.vertical_speed * seconds else ''
