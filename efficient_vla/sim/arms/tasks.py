# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What an arm is asked to do: the things it needs, where they begin, and when it is done."""

from collections.abc import Callable
from functools import partial
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
BLACK = (0.05, 0.05, 0.05, 1.0)
CUBES = ('red', 'blue')
"""Colours of cubes, in the order in which tasks have them."""
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
    """Touch a ball that lies somewhere on the table, the one that the sentence names."""

    APART = 3.0
    """Least distance between the middles of two balls, in radii."""

    def __init__(self, arm: Arm, shown: int = 1) -> None:
        """Take the arm that does it, and how many balls there are to choose from."""
        self.arm, self.shown, self.ball = arm, shown, 0

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Add one ball a colour; those of the other colours stay out of sight."""
        for name, rgba in COLOURS.items():
            ball = spec.worldbody.add_body(name=name, mocap=True, pos=AWAY)
            geom = ball.add_geom(
                type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[self.arm.ball, 0.0, 0.0], rgba=rgba
            )
            geom.contype = geom.conaffinity = 0

    def place(self, data: mujoco.MjData, rng: np.random.Generator) -> str:
        """Put the balls onto the table, and ask for one."""
        self.ball = int(rng.integers(len(COLOURS)))
        data.mocap_pos[:] = AWAY
        data.mocap_pos[self.ball] = somewhere(self.arm, rng, self.arm.ball)
        others = np.delete(np.arange(len(COLOURS)), self.ball)
        for other in rng.permutation(others)[: self.shown - 1] if self.shown > 1 else ():
            data.mocap_pos[other] = self._beside(data, rng)
        return f'touch the {list(COLOURS)[self.ball]} ball'

    def done(self, data: mujoco.MjData) -> bool:
        """Tell whether the tool is at the ball."""
        way = data.site(self.arm.tool).xpos - data.mocap_pos[self.ball]
        return float(np.linalg.norm(way)) < self.arm.ball + TOUCH

    def wish(self, data: mujoco.MjData) -> Wish:
        """Return the top of the ball."""
        return Wish(data.mocap_pos[self.ball] + [0.0, 0.0, self.arm.ball / 2], self.arm.home[-1])

    def _beside(self, data: mujoco.MjData, rng: np.random.Generator) -> np.ndarray:
        """Return a place that is apart from all balls."""
        while True:
            place = somewhere(self.arm, rng, self.arm.ball)
            near = np.linalg.norm(data.mocap_pos - place, axis=1).min()
            if near > self.APART * self.arm.ball:
                return place


class Push:
    """Push a cube to the left, across a line on the table: the one that the sentence names.

    The expert goes to the right of the cube, lowers on the way, and pushes along y. All lengths
    are in edges of the cube.
    """

    BEHIND = 1.6
    """From the middle of the cube to where the tool comes down."""
    RISE = 1.8
    """How much higher the tool goes while it is not there."""
    LOW = 0.45
    """How high above the table the tool pushes."""

    LANES = ((0.1, 0.25), (0.75, 0.9))
    """Where two cubes lie beside each other, as shares of what the arm reaches."""

    def __init__(self, arm: Arm, cubes: int = 1) -> None:
        """Take the arm that does it, and how many cubes there are to choose from."""
        self.arm, self.edge = arm, arm.cube
        self.near, self.far = arm.reach[0] + arm.cube / 2, arm.reach[1] - arm.cube
        self.line = arm.cube
        self.cubes = CUBES[:cubes]
        self.cube = self.cubes[0]

    def furnish(self, spec: mujoco.MjSpec) -> None:
        """Add the cubes and the line."""
        half = self.edge / 2
        for colour in self.cubes:
            cube = spec.worldbody.add_body(name=f'{colour} cube', pos=(self.near, 0.0, half))
            cube.add_freejoint(name=f'{colour} cube')
            geom = cube.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX, size=[half] * 3, rgba=COLOURS[colour]
            )
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
        """Put the cubes to the right of the line, turned a little, and ask for one."""
        ranges = [(self.near, self.far)]
        if len(self.cubes) > 1:
            lanes = self.arm.reach[0] + np.ptp(self.arm.reach) * np.array(self.LANES)
            ranges = list(rng.permutation(lanes))
            self.cube = str(rng.choice(self.cubes))
        for colour, lane in zip(self.cubes, ranges, strict=True):
            turn = rng.uniform(-0.3, 0.3)
            place = rng.uniform(*lane), self.edge * rng.uniform(-2.5, -0.5), self.edge / 2
            pose = *place, np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2)
            data.joint(f'{colour} cube').qpos[:] = pose
        return f'push the {self.cube} cube across the line'

    def done(self, data: mujoco.MjData) -> bool:
        """Tell whether the cube that was asked for, and no other, is beyond the line."""
        beyond = [c for c in self.cubes if data.body(f'{c} cube').xpos[1] > self.line]
        return beyond == [self.cube]

    def wish(self, data: mujoco.MjData) -> Wish:
        """Return the next point of the way round the cube, or that of the push."""
        edge, cube, tool = self.edge, self._at(data), data.site(self.arm.tool).xpos
        aside, behind = abs(tool[0] - cube[0]), cube[1] - tool[1]
        low = self.LOW * edge
        if aside < 0.5 * edge and 0 < behind < 1.2 * self.BEHIND * edge and tool[2] < edge:
            point = np.array([cube[0], min(cube[1], self.line + 0.3 * edge), low])
        else:
            point = np.array([cube[0], cube[1] - self.BEHIND * edge, low])
            off = float(np.linalg.norm((tool - point)[:2]))
            point[2] += np.clip(4 * (off - 0.2 * edge), 0.0, self.RISE * edge)
        return Wish(point, self.arm.pushing)

    def _at(self, data: mujoco.MjData) -> np.ndarray:
        """Return where the middle of the cube is that was asked for [m], [3]."""
        found: np.ndarray = data.body(f'{self.cube} cube').xpos
        return found


TASKS: dict[str, Callable[[Arm], Task]] = {
    'reach': Reach,
    'push': Push,
    'reach_three': partial(Reach, shown=3),
    'push_two': partial(Push, cubes=2),
}


def somewhere(arm: Arm, rng: np.random.Generator, height: float) -> np.ndarray:
    """Return a random point [3] on the table within reach, ``height`` above it [m]."""
    distance, angle = rng.uniform(*arm.reach), rng.uniform(-arm.spread, arm.spread)
    return np.array([distance * np.cos(angle), distance * np.sin(angle), height])
