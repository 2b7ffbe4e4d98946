# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the robot is, and whether it is silent, blocked or moved by somebody else."""

import math

import numpy as np
from sensor_msgs.msg import JointState

from efficient_vla.control.contract import GRIPPER
from efficient_vla.nodes.base.conversions import joint_values, stamp_to_seconds

RESET_NOTICE_S = 1.0
"""After the robot reported a new episode, its set-point may jump for this long."""
HELD_TOLERANCE_M = 0.001
"""A robot that reports set-points stays this close to a set-point that has been held for it."""


class SetpointWatch:
    """Compare the set-point that the robot reports with the last command.

    ``names`` are the columns of the command; all but the gripper are axes. A robot reports
    ``setpoint_NAME`` beside its measured position; where it does not, the position stands in,
    which lags and sags, so only the coarse threshold counts for it.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.reported: np.ndarray | None = None
        """Newest set-point, [axes]."""
        self.measured: np.ndarray | None = None
        """Newest measured position, [axes]."""
        self.time = -math.inf
        """When it was measured [s]."""
        self._axes = [name for name in names if name != GRIPPER]
        self.exact = False
        """Whether the robot reports its set-point beside its position."""
        self._heard = -math.inf
        self._noticed = -math.inf

    def read(self, message: JointState, now: float) -> None:
        """Take a state that came at ``now``; raises ``InvalidRecordError`` for a bad one."""
        named = [f'setpoint_{name}' for name in self._axes]
        exact = named[0] in message.name
        self.measured = joint_values(message, self._axes)
        self.reported = joint_values(message, named) if exact else self.measured
        self.exact = exact
        self._heard = now
        stamp = stamp_to_seconds(message.header.stamp)
        self.time = min(stamp, now) if stamp else now

    def silent(self, now: float, limit: float) -> str | None:
        """Return that nothing was heard for longer than ``limit`` [s], 0 for no limit, or None."""
        if limit == 0 or now - self._heard <= limit:
            return None
        return (
            f'robot_state has been silent for longer than state_timeout {limit} s. Is the robot '
            'running?'
        )

    def notice(self, now: float) -> None:
        """Take note that the robot reported a new episode."""
        self._noticed = now

    def clock_jumped(self, now: float) -> None:
        """Let no time be later than ``now``, to which the clock jumped back."""
        self._heard = min(self._heard, now)
        self._noticed = min(self._noticed, now)

    def forget_notice(self) -> None:
        """Expect no jump any more."""
        self._noticed = -math.inf

    def noticed(self, now: float, tracking: bool) -> bool:
        """Return whether an episode began just now, so that the set-point may jump.

        A position that lags behind while the controller is ``tracking`` tells nothing of that.
        """
        return (self.exact or not tracking) and 0 <= now - self._noticed <= RESET_NOTICE_S

    def moved(self, command: np.ndarray, free: bool, limit: float) -> bool:
        """Return whether the robot was put elsewhere than ``command`` [A] by more than ``limit``.

        That can be only where it is ``free``: while nothing moves it or as an episode begins.
        """
        return free and self.distance(command) > limit

    def slipped(self, command: np.ndarray) -> bool:
        """Return whether the robot is not at the set-point that is held for it."""
        return self.exact and self.distance(command) > HELD_TOLERANCE_M

    def distance(self, command: np.ndarray) -> float:
        """Return the largest distance on an axis between report and ``command`` [A]."""
        if self.reported is None:
            return 0.0
        held = [v for name, v in zip(self.names, command, strict=True) if name != GRIPPER]
        return float(np.abs(self.reported - held).max())

    def blocked(self, setpoint: np.ndarray, limit: float) -> str | None:
        """Return that an axis is further than ``limit`` from its set-point, or ``None``.

        That is the robot's own set-point where it reports one, and otherwise ``setpoint`` [axes],
        the one that it should have reached when it measured.
        """
        if self.measured is None or self.reported is None:
            return None
        wanted = self.reported if self.exact else setpoint
        error = float(np.abs(self.measured - wanted).max())
        if error <= limit:
            return None
        return (
            f'robot is {error:.3f} from its set-point; expected at most following_error {limit}. '
            'Free it, then call reset_stop and enable it.'
        )

    def position(self, gripper: float) -> np.ndarray:
        """Return the reported set-point as a command with this gripper effort, [A]."""
        assert self.reported is not None
        values = dict(zip(self._axes, self.reported, strict=True))
        return np.array([values.get(name, gripper) for name in self.names])

    def effort(self, command: np.ndarray) -> float:
        """Return the gripper effort of ``command``, 0 for a robot without a gripper."""
        if GRIPPER not in self.names:
            return 0.0
        return float(command[self.names.index(GRIPPER)])
