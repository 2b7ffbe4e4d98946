# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Who shows a policy what to do: the scripted expert of each simulated robot, disturbed or not."""

from typing import Protocol

import numpy as np

from efficient_vla.errors import UsageError
from efficient_vla.sim.interface import Scene
from efficient_vla.training.demonstrations import Disturbance


class Teacher(Protocol):
    """Moves the robot of a scene as its expert does."""

    ASTRAY_STEPS: int
    """Most steps that it leads the robot astray before an episode."""

    def astray(self) -> None:
        """Make a step that noise disturbs."""

    def step(self) -> np.ndarray:
        """Make a step; return the row [A] that a policy learns from it."""


class MetaWorldTeacher:
    """A row is how far the set-point goes in the step [m], and the effort of the gripper."""

    ASTRAY_STEPS = 70

    def __init__(self, sim: Scene, speed: float, rng: np.random.Generator) -> None:
        """Take the scene at the start of its episode."""
        from efficient_vla.sim.metaworld.experts import ScriptedExpert
        from efficient_vla.sim.metaworld.scene import MetaWorldSim

        assert isinstance(sim, MetaWorldSim)
        self._sim, self._expert = sim, ScriptedExpert(sim.task, speed)
        self._disturbance = Disturbance(rng)

    def astray(self) -> None:
        """Make a step with noise on the expert's action."""
        sim = self._sim
        sim.step_action(self._disturbance.apply(self._expert.action(sim), sim.steps))

    def step(self) -> np.ndarray:
        """Make the expert's step."""
        action, before = self._expert.action(self._sim), self._sim.setpoint()
        self._sim.step_action(action)
        return np.append(self._sim.setpoint() - before, action[3])


class ArmTeacher:
    """A row is where the set-points of all joints go [rad or m]."""

    ASTRAY_STEPS = 120
    NOISE = 0.6
    """Deviation of the disturbed joint velocities, as a share of the expert's fastest [rad/s]."""

    def __init__(self, sim: Scene, speed: float, rng: np.random.Generator) -> None:
        """Take the scene at the start of its episode."""
        from efficient_vla.sim.arms.experts import ArmExpert
        from efficient_vla.sim.arms.scene import ArmScene

        assert isinstance(sim, ArmScene)
        self._sim, self._expert, self._rng = sim, ArmExpert(sim, speed), rng
        self._noise = np.zeros(len(sim.simulation.command_names) - 1)

    def astray(self) -> None:
        """Make a step to which coloured noise on the joints is added; the jaw is left alone."""
        sample = self._rng.normal(size=len(self._noise))
        self._noise = 0.9 * self._noise + np.sqrt(1 - 0.9**2) * self.NOISE * sample
        command = self._expert.command()
        command[:-1] += self._sim.simulation.period * self._noise
        self._sim.step(command)

    def step(self) -> np.ndarray:
        """Make the expert's step."""
        command = self._expert.command()
        self._sim.step(command)
        return command


TEACHERS: dict[str, type[MetaWorldTeacher] | type[ArmTeacher]] = {
    'metaworld': MetaWorldTeacher,
    'so101': ArmTeacher,
    'ur5e': ArmTeacher,
    'panda': ArmTeacher,
}
"""Simulated robot -> its teacher."""


def teacher(robot: str, sim: Scene, speed: float, rng: np.random.Generator) -> Teacher:
    """Return the teacher of a robot, whose experts go at ``speed`` of their fastest."""
    return TEACHERS[robot](sim, speed, rng)


def refuse_untaught(robot: str) -> None:
    """Raise ``UsageError`` unless the robot has a scripted expert."""
    if robot not in TEACHERS:
        raise UsageError(
            f'robot {robot!r} has no scripted expert; expected one of {", ".join(TEACHERS)}. '
            'Record a policy that drives it: --format lerobot --graph.'
        )
