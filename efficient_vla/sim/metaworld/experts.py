# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Meta-World's scripted experts, as teachers.

Experts read the simulator's full state. They label demonstrations and states that a policy
visited; nothing here is available to a policy at run time.
"""

import warnings

import mujoco
import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from efficient_vla.sim.metaworld.scene import MetaWorldSim
from efficient_vla.sim.rendering import SNAPSHOT

TOOL_LENGTH = 0.045
"""Metres from the finger tips up to the hand.

Success of reach is measured at the finger tips, within 5 cm. Meta-World's expert brings the hand to
the goal, which leaves a margin of half a centimetre; here it brings the finger tips there.
"""


class ScriptedExpert:
    """A scripted expert with a speed limit.

    ``speed`` is the largest fraction of the arm's own speed (0.8 m/s an axis) that it uses. The
    experts are proportional controllers that saturate; slower ones succeed as often, and leave a
    policy that thinks for a tenth of a second less far behind.
    """

    def __init__(self, task: str, speed: float) -> None:
        """Take the expert of ``task``, which may differ from the task of the scene."""
        self.task = task
        self.policy = ENV_POLICY_MAP[task]()
        self.speed = speed

    def action(self, sim: MetaWorldSim) -> np.ndarray:
        """Return Meta-World's action [4] for the simulator's present state."""
        observation = sim.observation.copy()
        if self.task == 'reach-v3':
            observation[-1] += TOOL_LENGTH
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            action = np.asarray(self.policy.get_action(observation), np.float64)
        action[:3] = np.clip(action[:3], -self.speed, self.speed)
        action[3] = np.clip(action[3], -1.0, 1.0)
        return action

    def rollout(self, sim: MetaWorldSim, horizon: int) -> np.ndarray:
        """Return the next ``horizon`` actions [H, 4] without changing the simulator's state.

        Columns are the set-point's displacement [m] in each step and the gripper effort.
        """
        saved = save(sim)
        chunk = np.zeros((horizon, 4), np.float32)
        for row in chunk:
            action = self.action(sim)
            before = sim.setpoint()
            _advance(sim, action)
            row[:3] = sim.setpoint() - before
            row[3] = action[3]
        restore(sim, saved)
        return chunk


def privileged(sim: MetaWorldSim) -> np.ndarray:
    """Return hand, object and goal positions [9] in metres, for auxiliary training losses."""
    return np.concatenate(
        [sim.observation[:3], sim.observation[4:7], np.asarray(sim.env._target_pos)]
    ).astype(np.float32)


def save(sim: MetaWorldSim) -> tuple:
    """Return the simulator's state, for ``restore`` within the same episode."""
    observation, before = sim.observation.copy(), sim.env._prev_obs.copy()
    return sim.snapshot(), observation, before, sim.steps, sim.success


def restore(sim: MetaWorldSim, saved: tuple) -> None:
    """Put the simulator back into a state of this episode."""
    env = sim.env
    physics, sim.observation, env._prev_obs, sim.steps, sim.success = saved
    env.curr_path_length = sim.steps
    mujoco.mj_setState(env.model, env.data, physics, SNAPSHOT)
    mujoco.mj_forward(env.model, env.data)


def _advance(sim: MetaWorldSim, action: np.ndarray) -> None:
    """Step the physics and the observation alone; rewards are half of a step's time."""
    env = sim.env
    env.set_xyz_action(action[:3])
    env.do_simulation([action[3], -action[3]], n_frames=env.frame_skip)
    mujoco.mj_forward(env.model, env.data)
    space = env.sawyer_observation_space
    sim.observation = np.clip(env._get_obs(), space.low, space.high)
