# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What ros2_control's joint_trajectory_controller does with trajectories, without ROS.

Written from its public documentation, for a robot with position commands, as of Jazzy and Kilted:
a trajectory replaces the one before at once, tolerances are compared with the desired state, a
violation or a cancelled goal holds the measured position, and speed scaling slows its time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from efficient_vla.sim.drivers.spline import JointPath, JointPoint, Sample, sample

SUCCESSFUL, INVALID_GOAL = 0, -1
PATH_TOLERANCE_VIOLATED, GOAL_TOLERANCE_VIOLATED = -4, -5
"""GoalEnd codes of ``control_msgs/action/FollowJointTrajectory``."""
NO_SPEED = 1e-6
"""A trajectory has to end slower than this [rad/s or m/s]."""


@dataclass(frozen=True, slots=True)
class JointTolerance:
    """How far a joint may be from its desired state [rad or m]; 0: any way."""

    trajectory: float = 0.0
    goal: float = 0.0


@dataclass(frozen=True, slots=True)
class Constraints:
    """Tolerances of the controller, or of one goal."""

    joints: Mapping[str, JointTolerance] = field(default_factory=dict)
    stopped_velocity_tolerance: float = 0.01
    goal_time: float = 0.0
    """How late a goal may be reached [s]; 0: at any time."""


@dataclass(frozen=True, slots=True)
class GoalEnd:
    """How a goal ended."""

    code: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class TrackingReport:
    """State of the controller, [J] each."""

    reference: Sample
    feedback: np.ndarray
    velocity: np.ndarray
    error: np.ndarray
    output: np.ndarray
    speed_scaling: float


class JointTrajectoryController:
    """Follows one trajectory at a time, with position commands for ``joints``.

    ``period`` [s] is that of ``update``. It is made inactive.
    """

    def __init__(
        self,
        joints: tuple[str, ...],
        period: float,
        constraints: Constraints | None = None,
        allow_partial_joints_goal: bool = False,
        interpolate_from_desired_state: bool = True,
    ) -> None:
        self.joints = joints
        self.active = False
        self.result: GoalEnd | None = None
        """How the newest goal ended, ``None`` while it runs or where there is none."""
        self.holding = ''
        """Why the measured position is held, or ''."""
        self._period = period
        self._constraints = constraints or Constraints()
        self._tolerances = self._constraints
        self._partial = allow_partial_joints_goal
        self._from_desired = interpolate_from_desired_state
        self._goal = False
        self._next: tuple[JointPath, bool, Constraints] | None = None

    @property
    def pursues_goal(self) -> bool:
        """Whether a goal is under way."""
        return self._goal or (self._next is not None and self._next[1])

    def activate(self, measured: np.ndarray, now: float) -> None:
        """Begin to hold the ``measured`` position [J]."""
        self.active = True
        self._measured, self._time = measured, now
        self._desired = self._sample_of(measured)
        self._output = self._desired
        self._goal, self._next = False, None
        self._hold(measured, 'activated')

    def deactivate(self) -> None:
        """Leave the joints alone; a goal under way is cancelled."""
        self.active = False
        self._end(INVALID_GOAL, 'Current goal cancelled during deactivate transition.')
        self._next = None

    def refuse(self, trajectory: JointPath, now: float) -> str | None:
        """Return why a trajectory is not taken, or ``None``."""
        joints, points = trajectory.joints, trajectory.points
        if not self.active:
            return 'the controller is not active'
        strangers = set(joints) - set(self.joints)
        if not joints or strangers or len(set(joints)) < len(joints):
            return f'joints {", ".join(joints)} do not match {", ".join(self.joints)}'
        if len(joints) < len(self.joints) and not self._partial:
            missing = [name for name in self.joints if name not in joints]
            return f'joints {", ".join(missing)} are missing and partial goals are not allowed'
        if not points:
            return 'the trajectory is empty'
        if trajectory.start and trajectory.start + points[-1].time < now:
            return 'the trajectory ends in the past'
        for point in points:
            fields = (point.positions, point.velocities, point.accelerations)
            if any(values is not None and len(values) != len(joints) for values in fields):
                return 'a point has not one value for each joint'
            if any(values is not None and not np.isfinite(values).all() for values in fields):
                return 'a point has values that are not finite'
        if any(late.time <= early.time for early, late in pairwise(points)):
            return 'time_from_start is not strictly increasing'
        last = points[-1].velocities
        if last is not None and np.abs(last).max() > NO_SPEED:
            return 'the trajectory ends in motion'
        return None

    def follow(
        self, trajectory: JointPath, goal: bool = False, tolerances: Constraints | None = None
    ) -> None:
        """Take a trajectory that was not refused; it replaces the one before.

        A ``goal`` preempts the one before, and ends with a ``result``; ``tolerances`` are its own.
        Without, the goal under way goes on, and ends with this trajectory.
        """
        if goal:
            self._goal, self.result = False, None
        self._next = trajectory, goal, tolerances or self._constraints

    def cancel(self) -> None:
        """Cancel the goal under way and hold where the robot is."""
        if self.pursues_goal:
            self._goal, self._next = False, None
            self._hold(self._measured, 'cancelled')

    def update(
        self, now: float, measured: np.ndarray, velocity: np.ndarray, scaling: float = 1.0
    ) -> np.ndarray:
        """Return the command [J] of the next period, from where the robot is and how fast."""
        self._measured, self._velocity, self._scaling = measured, velocity, scaling
        first = self._begin(now, measured, velocity)
        if not first:
            self._moment += (now - self._time) * scaling
        self._time = now
        desired = sample(self._trajectory, self._start, self._before, self._moment)
        self._desired = desired
        violated = (desired.before_last or first) and self._outside(False)
        late = self._moment - self._start - self._trajectory.points[-1].time
        missed = not desired.before_last and self._outside(True)
        out_of_time = missed and 0 < self._tolerances.goal_time < late
        if self.holding:
            violated = out_of_time = False
        if not violated and not out_of_time:
            ahead = self._moment + self._period
            self._output = sample(self._trajectory, self._start, self._before, ahead)
        self._judge(violated, out_of_time, reached=not desired.before_last and not missed)
        return self._output.position

    def report(self) -> TrackingReport:
        """Return the state after the newest update."""
        return TrackingReport(
            self._desired,
            self._measured,
            self._velocity,
            self._desired.position - self._measured,
            self._output.position,
            self._scaling,
        )

    def _begin(self, now: float, measured: np.ndarray, velocity: np.ndarray) -> bool:
        """Take up the next trajectory; return whether there was one."""
        if self._next is None:
            return False
        trajectory, goal, self._tolerances = self._next
        self._next = None
        self._goal = self._goal or goal
        self.holding = ''
        self._before = JointPoint(now, measured, velocity)
        if self._from_desired:
            last = self._output
            self._before = JointPoint(now, last.position, last.velocity, last.acceleration)
        self._trajectory = self._sorted(trajectory, measured)
        self._start = trajectory.start or now
        self._moment = now
        return True

    def _sorted(self, trajectory: JointPath, measured: np.ndarray) -> JointPath:
        """Return the trajectory for all joints in the order of this controller."""
        places = [self.joints.index(name) for name in trajectory.joints]

        def spread(values: np.ndarray, others: np.ndarray) -> np.ndarray:
            whole = np.array(others, np.float64)
            whole[places] = values
            return whole

        still = np.zeros_like(measured)
        points = [
            JointPoint(
                point.time,
                spread(point.positions, measured),
                *(
                    None if values is None else spread(values, still)
                    for values in (point.velocities, point.accelerations)
                ),
            )
            for point in trajectory.points
        ]
        return JointPath(self.joints, tuple(points), trajectory.start)

    def _outside(self, at_goal: bool) -> bool:
        """Return whether a joint is outside of its tolerance, that of the goal or of the way."""
        off = np.abs(self._desired.position - self._measured)
        allowed = [self._tolerances.joints.get(name, JointTolerance()) for name in self.joints]
        limits = np.array([t.goal if at_goal else t.trajectory for t in allowed])
        if ((limits > 0) & (off > limits)).any():
            return True
        slowest = self._tolerances.stopped_velocity_tolerance
        return at_goal and 0 < slowest < float(np.abs(self._velocity).max())

    def _judge(self, violated: bool, out_of_time: bool, reached: bool) -> None:
        if violated:
            self._end(PATH_TOLERANCE_VIOLATED, 'Aborted due to path tolerance violation')
            self._hold(self._measured, 'path tolerance violated')
        elif out_of_time:
            self._end(GOAL_TOLERANCE_VIOLATED, 'Aborted due to goal_time_tolerance')
            self._hold(self._measured, 'goal tolerance violated')
        elif reached:
            self._end(SUCCESSFUL, 'Goal successfully reached!')

    def _end(self, code: int, text: str) -> None:
        if self.pursues_goal:
            self._goal = False
            self.result = GoalEnd(code, text)

    def _hold(self, position: np.ndarray, why: str) -> None:
        self.holding = why
        self._tolerances = self._constraints
        self._output = self._sample_of(position)
        self._trajectory = JointPath(self.joints, (JointPoint(0.0, position),))
        self._before = JointPoint(self._time, position)
        self._start = self._moment = self._time
        self._scaling, self._velocity = 1.0, np.zeros_like(position)

    @staticmethod
    def _sample_of(position: np.ndarray) -> Sample:
        zero = np.zeros_like(position)
        return Sample(position, zero, zero, before_last=False)
