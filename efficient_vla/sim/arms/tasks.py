# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What an arm is asked to do: the things it needs, where they begin, and when it is done."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import mujoco
import numpy as np

from efficient_vla.sim.arms.robots import INSTRUCTIONS, Arm

COLOURS = {
    'red': (0.85, 0.05, 0.05, 1.0),
    'green': (0.05, 0.55, 0.1, 1.0),
    'blue': (0.05, 0.15, 0.85, 1.0),
}
TOUCH = 0.01
"""How near the middle between the finger tips comes to the ball's surface [m]."""
AWAY = (0.0, 0.0, -1.0)
"""Where things are that an episode does not have, below the table [m]."""
RED, BLACK = COLOURS['red'], (0.05, 0.05, 0.05, 1.0)
DENSITY = 400.0
"""Of a wooden cube [kg/m^3]."""


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


class Push:
    """Push a cube to the left, across a line on the table.

    The expert goes to the right of the cube, lowers on the way, and pushes along y. All lengths
    are in edges of the cube.
    """

    BEHIND = 1.6
    """From the middle of the cube to where the tool comes down."""
    RISE = 1.8
    """How much higher the tool goes while it is not there."""
    LOW = 0.45
    """How high above the table the tool pushes."""

    def __init__(self, arm: Arm) -> None:
        """Take the arm that does it."""
        self.arm, self.edge = arm, arm.cube
        self.near, self.far = arm.reach[0] + arm.cube / 2, arm.reach[1] - arm.cube
        self.line = arm.cube

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Add the cube and the line."""
        half = self.edge / 2
        cube = spec.worldbody.add_body(name='cube', pos=(self.near, 0.0, half))
        cube.add_freejoint()
        geom = cube.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[half] * 3, rgba=RED)
        geom.density, geom.contype, geom.conaffinity = DENSITY, 1, 1
        middle, length = np.mean(self.arm.reach), np.ptp(self.arm.reach)
        line = spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=[middle, self.line, 0.0],
            size=[0.75 * length, 0.12 * self.edge, 0.0005],
            rgba=BLACK,
        )
        line.contype = line.conaffinity = 0

    def place(self, data: mujoco.MjData, rng: np.random.Generator) -> str:
        """Put the cube to the right of the line, turned a little."""
        turn = rng.uniform(-0.3, 0.3)
        place = rng.uniform(self.near, self.far), self.edge * rng.uniform(-2.5, -0.5), self.edge / 2
        data.qpos[-7:] = *place, np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2)
        return INSTRUCTIONS['push']

    def done(self, data: mujoco.MjData) -> bool:
        """Tell whether the middle of the cube is beyond the line."""
        return bool(data.body('cube').xpos[1] > self.line)

    def wish(self, data: mujoco.MjData) -> Wish:
        """Return the next point of the way round the cube, or that of the push."""
        edge, cube, tool = self.edge, data.body('cube').xpos, data.site(self.arm.tool).xpos
        aside, behind = abs(tool[0] - cube[0]), cube[1] - tool[1]
        low = self.LOW * edge
        if aside < 0.5 * edge and 0 < behind < 1.2 * self.BEHIND * edge and tool[2] < edge:
            point = np.array([cube[0], min(cube[1], self.line + 0.3 * edge), low])
        else:
            point = np.array([cube[0], cube[1] - self.BEHIND * edge, low])
            off = float(np.linalg.norm((tool - point)[:2]))
            point[2] += np.clip(4 * (off - 0.2 * edge), 0.0, self.RISE * edge)
        return Wish(point, self.arm.pushing)


TASKS: dict[str, Callable[[Arm], Task]] = {'reach': Reach, 'push': Push}


def somewhere(arm: Arm, rng: np.random.Generator, height: float) -> np.ndarray:
    """Return a random point [3] on the table within reach, ``height`` above it [m]."""
    distance, angle = rng.uniform(*arm.reach), rng.uniform(-arm.spread, arm.spread)
    return np.array([distance * np.cos(angle), distance * np.sin(angle), height])
