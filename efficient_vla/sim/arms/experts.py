# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A scripted expert for every arm: inverse kinematics towards what the task wishes.

It reads where things are; nothing here is available to a policy at run time.
"""

import mujoco
import numpy as np

from efficient_vla.sim.arms.robots import PERIOD_S
from efficient_vla.sim.arms.scene import ArmScene

GAIN = 5.0
"""Share of the way to the goal that is asked for in a second: about what the servos follow."""
DAMPING = 0.03
POSTURE = 0.05
"""Weight of staying near home where the task leaves a joint free [m/rad]."""
POINTING = 0.1
"""Weight of fingers that point down [m/rad]."""
DOWN = np.array([0.0, 0.0, -1.0])
JAW_SPEED = 1.5
"""Share of the jaw's range that it opens or closes in a second."""


class ArmExpert:
    """Moves the tool straight to its goal, at ``speed`` of what the arm's experts go at most."""

    def __init__(self, scene: ArmScene, speed: float) -> None:
        """Take the scene whose task is to be done."""
        self.scene, self.speed = scene, speed
        self._site = scene.model.site(scene.arm.tool).id
        self._dofs = scene.model.jnt_dofadr[scene.model.actuator_trnid[:-1, 0]]

    def command(self) -> np.ndarray:
        """Return the set-points [P] of the next step."""
        scene, data = self.scene, self.scene.data
        wish = scene.job.wish(data)
        way = GAIN * (wish.point - data.site_xpos[self._site])
        fastest = self.speed * scene.arm.tool_speed
        velocity = way * min(1.0, fastest / max(float(np.linalg.norm(way)), 1e-9))
        command = scene.setpoint()
        command[:-1] += PERIOD_S * self._joint_velocity(velocity, command[:-1])
        low, high = scene.workspace
        most = self.speed * JAW_SPEED * (high[-1] - low[-1]) * PERIOD_S
        command[-1] += np.clip(wish.jaw - command[-1], -most, most)
        return np.clip(command, low, high)

    def _joint_velocity(self, velocity: np.ndarray, joints: np.ndarray) -> np.ndarray:
        """Return joint velocities for a velocity [m/s] of the tool, by damped least squares."""
        scene, data = self.scene, self.scene.data
        moves, turns = np.zeros((2, 3, scene.model.nv))
        mujoco.mj_comPos(scene.model, data)
        mujoco.mj_jacSite(scene.model, data, moves, turns, self._site)
        fingers = data.site_xmat[self._site].reshape(3, 3) @ scene.arm.approach
        home = np.subtract(scene.arm.home[:-1], joints)
        rows = np.concatenate(
            [moves[:, self._dofs], POINTING * turns[:, self._dofs], POSTURE * np.eye(len(home))]
        )
        aims = np.concatenate(
            [velocity, POINTING * self.speed * np.cross(fingers, DOWN), POSTURE * self.speed * home]
        )
        square = rows.T @ rows + DAMPING**2 * np.eye(len(home))
        found: np.ndarray = np.linalg.solve(square, rows.T @ aims)
        return found
