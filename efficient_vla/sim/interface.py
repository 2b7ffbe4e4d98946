# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a simulated robot is, without ROS."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

import numpy as np

from efficient_vla.sim.drivers.description import Driver


class Scene(Protocol):
    """One robot, one task and one camera in a simulator, moved step by step.

    Made of task, rendering ('default' or 'fast'), image size [px] and the steps of an episode;
    raises ``ValueError`` for a task that it does not have.
    """

    simulation: 'Simulation'
    task: str
    instruction: str
    """The sentence that asks for the task in this episode."""
    steps: int
    """Steps since the episode began."""
    success: bool

    @property
    def done(self) -> bool:
        """Whether the episode is over."""

    @property
    def workspace(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest set-point, [P] each."""

    def reset(self, seed: int) -> None:
        """Start the episode that ``seed`` names."""

    def step(self, command: np.ndarray) -> None:
        """Follow a command [A] for one period: set-points first, then efforts."""

    def state(self) -> np.ndarray:
        """Return what is measured, float32 [S]."""

    def setpoint(self) -> np.ndarray:
        """Return the set-point that is followed, float64 [P]."""

    def render(self) -> np.ndarray:
        """Return the camera image, uint8 [rows, columns, 3], rgb, upright."""

    def snapshot(self) -> np.ndarray:
        """Copy the physics state, quickly, so that another thread may render it."""

    def render_snapshot(self, state: np.ndarray) -> np.ndarray:
        """Return the image of a copied state; all calls come from one thread."""

    def close(self) -> None:
        """Free what rendering holds, in the thread that rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What is known of a simulated robot without its simulator."""

    scene: str
    """``module:Class`` of its ``Scene``."""
    instructions: Mapping[str, str]
    """Task -> a sentence that asks for it; an episode may say more, such as a colour."""
    first_task: str
    """Task where none is chosen."""
    demo_tasks: tuple[str, ...]
    camera: str
    period: float
    """Simulated time of a step [s]."""
    state_names: tuple[str, ...]
    setpoint_names: tuple[str, ...]
    """Columns of a command that are positions to go to, [P]."""
    policy: str = ''
    """Shipped policy that drives it where none is named; empty: evla-nano."""
    effort_names: tuple[str, ...] = ()
    """Columns after them that are not, such as the effort of a gripper."""
    driver: Driver | None = None
    """What its ROS 2 driver is like, where there is one to stand in for."""
    profile: Path | None = None
    """Parameter file of the robot, where it is not ``config/robots/<name>.yaml``."""

    @property
    def command_names(self) -> tuple[str, ...]:
        """Columns of a command, [A]."""
        return self.setpoint_names + self.effort_names

    @property
    def reported_names(self) -> tuple[str, ...]:
        """Columns of the robot's state on its topic: measured, then set-points, [S + P]."""
        return self.state_names + tuple(f'setpoint_{name}' for name in self.setpoint_names)

    def make(self, *arguments: Any) -> Scene:
        """Return a scene; the simulator is loaded here."""
        made: Scene = resolve_name(self.scene)(*arguments)
        return made
