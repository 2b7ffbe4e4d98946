# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Arms on a table behind the interface of a position-controlled robot.

The robot reports its joints and nothing that a real arm could not know; where things lie is in the
image alone.
"""

from functools import partial

import mujoco
import numpy as np

from efficient_vla.sim.arms import robots
from efficient_vla.sim.arms.model import TIMESTEP_S, arm_spec
from efficient_vla.sim.arms.tasks import TASKS
from efficient_vla.sim.interface import Simulation
from efficient_vla.sim.rendering import ModelCamera, snapshot

MAX_STEPS = 500
SUBSTEPS = round(robots.PERIOD_S / TIMESTEP_S)
HOME_JITTER = 0.05
"""How far from home an episode begins at most [rad]."""


class ArmScene:
    """One arm, one task, one camera. Set-points are those of the joints [rad or m]."""

    def __init__(
        self,
        arm: robots.Arm,
        about: Simulation,
        task: str,
        render: str = 'default',
        size: int = 480,
        max_steps: int = MAX_STEPS,
    ) -> None:
        """Load the model of ``arm`` and the things of ``task``."""
        if task not in TASKS:
            raise ValueError(f'unknown task {task!r}; expected one of {", ".join(TASKS)}.')
        self.arm, self.simulation, self.task, self.max_steps = arm, about, task, max_steps
        self.job = TASKS[task](arm)
        spec = arm_spec(arm)
        self.job.furnish(spec)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.camera = ModelCamera(self.model, robots.CAMERA, render, size)
        joints = [*self.model.actuator_trnid[:-1, 0], self.model.joint(arm.jaw_joint).id]
        self._positions = self.model.jnt_qposadr[joints]
        # [P], control of an actuator for one unit of its set-point.
        self._control = np.append(np.ones(len(joints) - 1), arm.jaw_control)
        self.instruction = about.instructions[task]
        self.steps = 0
        self.success = False

    @property
    def workspace(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest set-point of every joint, [P] each, as the model has them."""
        low, high = self.model.actuator_ctrlrange.T / self._control
        return low, high

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.success or self.steps >= self.max_steps

    def reset(self, seed: int) -> None:
        """Start the episode that ``seed`` names: the arm near home, things somewhere."""
        rng = np.random.default_rng(seed)
        mujoco.mj_resetData(self.model, self.data)
        home = np.array(self.arm.home)
        home[:-1] += rng.uniform(-HOME_JITTER, HOME_JITTER, len(home) - 1)
        self.data.qpos[self._positions] = home
        self.data.ctrl[:] = home * self._control
        self.instruction = self.job.place(self.data, rng)
        mujoco.mj_forward(self.model, self.data)
        self.steps = 0
        self.success = False

    def step(self, command: np.ndarray) -> None:
        """Move the set-point towards ``command`` [P], no faster than the arm, then simulate."""
        if self.steps >= self.max_steps:
            raise RuntimeError(f'the episode ended after {self.max_steps} steps; reset first.')
        most = np.multiply(self.arm.max_velocity, robots.PERIOD_S)
        before, goal = self.setpoint(), np.clip(command, *self.workspace)
        self.data.ctrl[:] = (before + np.clip(goal - before, -most, most)) * self._control
        mujoco.mj_step(self.model, self.data, SUBSTEPS)
        # A step ends with new joint angles and the places of the last ones.
        mujoco.mj_kinematics(self.model, self.data)
        self.steps += 1
        self.success = self.success or self.job.done(self.data)

    def state(self) -> np.ndarray:
        """Return the joints as they are measured, float32 [S]."""
        return self.data.qpos[self._positions].astype(np.float32)

    def setpoint(self) -> np.ndarray:
        """Return the set-points that the joints follow, float64 [P]."""
        found: np.ndarray = self.data.ctrl / self._control
        return found

    def render(self) -> np.ndarray:
        """Return the camera image, uint8 [size, size, 3], rgb, upright."""
        return self.camera.image(self.data)

    def snapshot(self) -> np.ndarray:
        """Copy the physics state, so that another thread may render it."""
        return snapshot(self.model, self.data)

    def render_snapshot(self, state: np.ndarray) -> np.ndarray:
        """Render a copied physics state; the image equals that of ``render`` at that time."""
        return self.camera.image_of(state)

    def close(self) -> None:
        """Free the rendering context, in the thread that rendered."""
        self.camera.close()


so101 = partial(ArmScene, robots.SO101, robots.SO101_SIMULATION)
ur5e = partial(ArmScene, robots.UR5E, robots.UR5E_SIMULATION)
panda = partial(ArmScene, robots.PANDA, robots.PANDA_SIMULATION)
