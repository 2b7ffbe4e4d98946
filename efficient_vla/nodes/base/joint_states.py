# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Joint states of drivers that report a part each, in messages of their own, merged by name."""

from collections.abc import Iterable, Sequence

import numpy as np
from sensor_msgs.msg import JointState

from efficient_vla.nodes.base.conversions import AbsentNamesError, joint_positions

MOST_NAMES = 32
"""Names of other joints that are remembered, to be told."""


class JointStates:
    """The newest value of each of ``names``; the first one leads.

    A message that has all of them is taken as it is. Where they come in parts, every message with
    the first name makes a state of its time, with the newest values of the others. ``renamed`` are
    ``name:=joint`` for those that the driver calls otherwise.
    """

    def __init__(self, names: Sequence[str], renamed: Iterable[str] = ()) -> None:
        called = dict(word.split(':=') for word in renamed)
        self.names = tuple(called.get(name, name) for name in names)
        self._newest: dict[str, tuple[float, float]] = {}
        """Name -> value and its stamp [s]."""
        self._others: dict[str, None] = {}

    def take(self, message: JointState, stamp: float, max_age: float) -> np.ndarray | None:
        """Return the positions [N] at ``stamp`` [s], or ``None`` where the first is not told.

        The others may be ``max_age`` [s] older. Raises ``InvalidRecordError`` for a bad message,
        ``AbsentNamesError`` for one of other joints and where the others are missing or too old.
        """
        found = joint_positions(message, self.names)
        if len(found) == len(self.names):
            return np.array([found[name] for name in self.names])
        for name in message.name:
            if name not in found and len(self._others) < MOST_NAMES:
                self._others[name] = None
        for name, value in found.items():
            self._newest[name] = value, stamp
        if found and self.names[0] not in found:
            return None
        missing = [name for name in self.names if name not in self._newest]
        if missing or not found:
            raise AbsentNamesError(self._absent(missing))
        ages = {name: stamp - self._newest[name][1] for name in self.names}
        late = max(ages, key=lambda name: abs(ages[name]))
        if abs(ages[late]) > max_age:
            raise AbsentNamesError(
                f'the newest joint state of {late} is {ages[late]:.3f} s older than that of '
                f'{self.names[0]}; expected at most joint_age {max_age} s. Is its driver running, '
                'and are the clocks in step?'
            )
        return np.array([self._newest[name][0] for name in self.names])

    def _absent(self, missing: Sequence[str]) -> str:
        came = ', '.join([*self._newest, *self._others]) or '(none)'
        return (
            f'joint state has the names {came}; expected each of {", ".join(self.names)} once, '
            f'in one message or several, and nothing came of {", ".join(missing or self.names)}. '
            'Start its driver, correct the names in the profile of the robot, or use the policy '
            'of this robot.'
        )
