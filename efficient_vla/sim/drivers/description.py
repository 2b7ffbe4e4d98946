# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which driver an arm has, as data: names of its controllers, joints and topics."""

import math
from dataclasses import dataclass

from efficient_vla.sim.drivers.feetech import Motor
from efficient_vla.sim.drivers.joint_trajectory_controller import Constraints, JointTolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The ROS 2 driver of an arm, with names as they are there."""

    joints: tuple[str, ...]
    """Joints of the trajectory controller, those of the first columns of a command."""
    controller: str = 'joint_trajectory_controller'
    gripper_joint: str = ''
    """Joint of the column after them; empty: there is none."""
    gripper_action: str = 'gripper_controller/gripper_cmd'
    gripper_parallel: bool = False
    """Whether that is ``ParallelGripperCommand`` and not ``GripperCommand``."""
    gripper_limits: tuple[float, float] = (-math.inf, math.inf)
    other_joints: tuple[str, ...] = ()
    """Joints that are in its ``joint_states`` too, and stand still."""
    motors: tuple[Motor, ...] = ()
    """Calibration of the servos of all joints where they count ticks, as those of Feetech do."""
    program: bool = False
    """Whether the robot runs a program that may stop, and has a speed slider, as a UR has."""
    path_tolerance: float = 0.0
    """How far a joint may be from its trajectory before that is given up [rad]; 0: any way."""
    goal_tolerance: float = 0.0
    stopped_velocity: float = 0.01
    """Fastest joint at the end of a goal [rad/s]."""

    @property
    def constraints(self) -> Constraints:
        """Return the tolerances of its trajectory controller."""
        tolerance = JointTolerance(self.path_tolerance, self.goal_tolerance)
        return Constraints(dict.fromkeys(self.joints, tolerance), self.stopped_velocity)
