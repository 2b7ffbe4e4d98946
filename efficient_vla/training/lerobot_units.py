# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""State and action of a robot as its policies count them, by ``joints`` of its profile."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from efficient_vla.bringup.graph import robot_met
from efficient_vla.joint_settings import POSITIONS
from efficient_vla.joints import Joints, joints_of
from efficient_vla.settings import InvalidSettingError
from efficient_vla.sim.catalogue import simulation


@dataclass(frozen=True, slots=True)
class PolicyUnits:
    """What a dataset of a robot holds."""

    joints: Joints
    relative: int
    """First columns of a row that are displacements; the other ones are as commanded."""
    steps: int
    """Steps of the simulator in a row."""

    def state(self, values: np.ndarray) -> np.ndarray:
        """Return states, float32 [T, S], for those of the robot."""
        return self.joints.state_to_policy(values)

    def action(self, values: np.ndarray) -> np.ndarray:
        """Return rows, float32 [T, A], for those of the robot."""
        return self.joints.rows_to_policy(values)


@cache
def policy_units(robot: str) -> PolicyUnits:
    """Return what a dataset of a simulated robot holds.

    Raises ``InvalidSettingError`` where the profile of the robot does not say.
    """
    about, settings = simulation(robot), robot_met(robot, {}).joints
    joints = joints_of(settings, len(about.state_names), len(about.command_names))
    relative = 0 if settings.mode in POSITIONS else len(about.setpoint_names)
    steps = max(1, round(1 / (settings.rate * about.period))) if settings.rate else 1
    if relative and steps > 1:
        raise InvalidSettingError(
            f'joints.rate of {robot} is {settings.rate:g} Hz; rows of displacements have the '
            f'{1 / about.period:g} Hz of the simulator.'
        )
    return PolicyUnits(joints, relative, steps)
