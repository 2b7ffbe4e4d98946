# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Meta-World's Sawyer arm behind the interface of a position-controlled robot.

Camera, seeding and success follow LeRobot's Meta-World environment: camera ``corner2`` moved to
(0.75, 0.075, 0.7), both image axes flipped, an episode ends at success or after 500 steps.
The robot reports four proprioceptive numbers and nothing that a real arm could not know.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import metaworld
    import mujoco
import numpy as np

from efficient_vla.sim.metaworld.tasks import INSTRUCTIONS, SIMULATION
from efficient_vla.sim.rendering import ModelCamera, snapshot

CAMERA = SIMULATION.camera
CAMERA_POSITION = (0.75, 0.075, 0.7)
MAX_STEPS = 500


class UnknownTaskError(ValueError):
    """A task that this simulator does not have."""


class MetaWorldSim:
    """One Sawyer, one task, one camera.

    The set-point is the position [m] of the mocap body that drags the hand; the gripper takes an
    effort in [-1, 1], where 1 closes.
    """

    simulation = SIMULATION
    PERIOD = SIMULATION.period
    """Seconds of simulated time a step lasts."""
    MAX_DELTA = 0.01
    """Metres the set-point moves at most in one step along each axis."""

    def __init__(
        self, task: str, render: str = 'default', size: int = 480, max_steps: int = MAX_STEPS
    ) -> None:
        """Load the scene of ``task``; ``render`` is 'default' or 'fast' (no shadows, no MSAA)."""
        if task not in INSTRUCTIONS:
            raise UnknownTaskError(
                f'unknown task {task!r}; expected one of {", ".join(sorted(INSTRUCTIONS))}.'
            )
        self.task = task
        self.instruction = INSTRUCTIONS[task]
        self.max_steps = max_steps
        benchmark = metaworld.MT1(task, seed=42)
        self.env = benchmark.train_classes[task]()
        self.env.set_task(benchmark.train_tasks[0])
        self.env.max_path_length = max_steps
        self.env._freeze_rand_vec = False
        self.env.seeded_rand_vec = True
        self.env.model.cam_pos[self.env.model.camera(CAMERA).id] = CAMERA_POSITION
        self.observation = np.zeros(39)
        self.success = False
        self.steps = 0
        self.camera = ModelCamera(self.env.model, CAMERA, render, size)

    @property
    def workspace(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest set-point [m], [3] each."""
        return self.env.mocap_low.copy(), self.env.mocap_high.copy()

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.success or self.steps >= self.max_steps

    def reset(self, seed: int) -> None:
        """Start the episode that ``seed`` names."""
        self.env.seed(seed)
        self.observation, _ = self.env.reset()
        # Without this, a first image would show the goal of the episode before.
        mujoco.mj_forward(self.env.model, self.env.data)
        self.success = False
        self.steps = 0

    def step(self, command: np.ndarray) -> None:
        """Move the set-point towards ``command`` [4] by at most 1 cm an axis, then simulate."""
        delta = (command[:3] - self.setpoint()) / self.env.action_scale
        self.step_action(np.clip(np.append(delta, command[3]), -1.0, 1.0))

    def step_action(self, action: np.ndarray) -> None:
        """Apply one action of Meta-World, [4] in [-1, 1]."""
        if self.steps >= self.max_steps:
            raise RuntimeError(f'the episode ended after {self.max_steps} steps; reset first.')
        self.observation, _, _, _, info = self.env.step(action)
        self.steps += 1
        self.success = self.success or bool(info['success'])

    def state(self) -> np.ndarray:
        """Return hand x, y, z [m] and gripper opening (0 to 1), float32 [4]."""
        return self.observation[:4].astype(np.float32)

    def setpoint(self) -> np.ndarray:
        """Return the commanded end-effector position [m], float64 [3]."""
        return self.env.data.mocap_pos[0].copy()

    def render(self) -> np.ndarray:
        """Return the camera image, uint8 [size, size, 3], rgb, upright."""
        return self.render_data(self.env.data)

    def snapshot(self) -> np.ndarray:
        """Copy the physics state, so that another thread may render it; takes microseconds."""
        return snapshot(self.env.model, self.env.data)

    def render_snapshot(self, state: np.ndarray) -> np.ndarray:
        """Render a copied physics state; the image equals that of ``render`` at that time."""
        return _upright(self.camera.image_of(state))

    def render_data(self, data: 'mujoco.MjData') -> np.ndarray:
        """Render a physics state; all calls must come from one thread."""
        return _upright(self.camera.image(data))

    def close(self) -> None:
        """Free the rendering context, in the thread that rendered."""
        self.camera.close()


def _upright(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[::-1, ::-1])
