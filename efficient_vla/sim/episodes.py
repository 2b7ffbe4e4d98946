# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which episodes a run has, and what its manifest says about sensing; no simulator needed."""

from collections.abc import Sequence
from typing import Any

from efficient_vla.addresses import ServerAddress
from efficient_vla.errors import UsageError
from efficient_vla.places import PolicyPlace
from efficient_vla.policy_folders import folder_facts
from efficient_vla.sim.catalogue import DEFAULT_ROBOT, simulation

PLANS = ('live', 'first', 'wrong')
"""What an evaluation lets a plan carry."""


def jobs(
    tasks: Sequence[str], seed: int, episodes: int, robot: str = DEFAULT_ROBOT
) -> list[tuple[str, int]]:
    """Return task and seed of every episode; number ``i`` of every task has ``seed + i``.

    Raises ``UsageError`` unless there is something to run and the simulator knows it.
    """
    check_tasks(tasks, robot)
    if episodes < 1:
        raise UsageError(f'{episodes} episodes; expected at least 1.')
    if seed < 0:
        raise UsageError(f'seed {seed}; expected at least 0.')
    return [(task, seed + index) for task in tasks for index in range(episodes)]


def check_tasks(tasks: Sequence[str], robot: str = DEFAULT_ROBOT) -> None:
    """Raise ``UsageError`` unless these are tasks of the robot, one at least, none twice."""
    instructions = simulation(robot).instructions
    known = ', '.join(instructions)
    if not tasks:
        raise UsageError(f'no task given; expected some of {known}.')
    for task in tasks:
        if task not in instructions:
            raise UsageError(f'unknown task {task!r} of {robot}; expected one of {known}.')
        if tasks.count(task) > 1:
            raise UsageError(
                f'task {task!r} is named twice; expected once, since the same seeds make the same '
                'episodes. Ask for more episodes instead.'
            )


def sensing(policy: PolicyPlace, render: str, image_size: int) -> dict[str, Any]:
    """Return what the manifest says about cameras and robot state, as far as the folder names them.

    Raises ``CheckpointError`` when the policy folder cannot be read.
    """
    if isinstance(policy, ServerAddress):
        return {'render': render, 'camera': {'rows': image_size, 'columns': image_size}}
    facts = folder_facts(policy)
    return {
        'render': render,
        'camera': {'names': list(facts.cameras), 'rows': image_size, 'columns': image_size},
        'state': list(facts.state_names),
        'state_width': facts.state_width,
    }
