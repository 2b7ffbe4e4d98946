# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What an arm is asked to do: the things it needs, where they begin, and when it is done."""

from typing import NamedTuple, Protocol

import mujoco
import numpy as np

from efficient_vla.sim.arms.robots import Arm

COLOURS = {
    'red': (0.85, 0.05, 0.05, 1.0),
    'green': (0.05, 0.55, 0.1, 1.0),
    'blue': (0.05, 0.15, 0.85, 1.0),
}
TOUCH = 0.01
"""How near the middle between the finger tips comes to the ball's surface [m]."""
AWAY = (0.0, 0.0, -1.0)
"""Where things are that an episode does not have, below the table [m]."""


class Wish(NamedTuple):
    """Where an expert wants the tool next."""

    point: np.ndarray
    """Middle between the finger tips [m], [3]."""
    jaw: float
    """Set-point of the jaw."""


class Task(Protocol):
    """One thing to do, in a model that ``furnish`` has added its things to."""

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Add what the task needs to the scene."""

    def place(self, data: mujoco.MjData, rng: np.random.Generator) -> str:
        """Put everything where an episode begins; return the sentence that asks for it."""

    def done(self, data: mujoco.MjData) -> bool:
        """Tell whether it is done."""

    def wish(self, data: mujoco.MjData) -> Wish:
        """Return where an expert goes from here."""


class Reach:
    """Touch a ball that lies somewhere on the table."""

    def __init__(self, arm: Arm) -> None:
        """Take the arm that does it."""
        self.arm = arm

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Add one ball a colour; those of the other colours stay out of sight."""
        for name, rgba in COLOURS.items():
            ball = spec.worldbody.add_body(name=name, mocap=True, pos=AWAY)
            geom = ball.add_geom(
                type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[self.arm.ball, 0.0, 0.0], rgba=rgba
            )
            geom.contype = geom.conaffinity = 0

    def place(self, data: mujoco.MjData, rng: np.random.Generator) -> str:
        """Put a ball of one colour onto the table."""
        ball = int(rng.integers(len(COLOURS)))
        data.mocap_pos[:] = AWAY
        data.mocap_pos[ball] = somewhere(self.arm, rng, self.arm.ball)
        return f'touch the {list(COLOURS)[ball]} ball'

    def done(self, data: mujoco.MjData) -> bool:
        """Tell whether the tool is at the ball."""
        way = data.site(self.arm.tool).xpos - self._ball(data)
        return float(np.linalg.norm(way)) < self.arm.ball + TOUCH

    def wish(self, data: mujoco.MjData) -> Wish:
        """Return the top of the ball."""
        return Wish(self._ball(data) + [0.0, 0.0, self.arm.ball / 2], self.arm.home[-1])

    def _ball(self, data: mujoco.MjData) -> np.ndarray:
        return data.mocap_pos[np.argmax(data.mocap_pos[:, 2])]


TASKS = {'reach': Reach}


def somewhere(arm: Arm, rng: np.random.Generator, height: float) -> np.ndarray:
    """Return a random point [3] on the table within reach, ``height`` above it [m]."""
    distance, angle = rng.uniform(*arm.reach), rng.uniform(-arm.spread, arm.spread)
    return np.array([distance * np.cos(angle), distance * np.sin(angle), height])
