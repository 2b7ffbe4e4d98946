# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the experts were about in each frame of the demonstrations: words and the next waypoint.

A task has two phases: until its object first moves, and from then on. The words for the movement
are those of the expert's own next actions, in the robot's base frame: x to the right, y forward,
z up. Reaching has no object and one phase.
"""

from dataclasses import dataclass

import numpy as np

from efficient_vla.sim.metaworld.tasks import TASKS
from efficient_vla.training.dataset import Demonstrations

PHASES = {
    'reach-v3': ('reach the goal', 'reach the goal'),
    'push-v3': ('approach the puck', 'push the puck to the goal'),
    'pick-place-v3': ('approach the puck', 'carry the puck to the goal'),
    'button-press-v3': ('approach the button', 'press the button'),
    'drawer-open-v3': ('approach the drawer handle', 'pull the drawer open'),
    'door-open-v3': ('approach the door handle', 'pull the door open'),
    'window-close-v3': ('approach the window handle', 'slide the window closed'),
}
"""Task -> subtask before and after its object moves."""
NOTHING = 'nothing to do here'
STILL = 'hold still'
DIRECTIONS = (('left', 'right'), ('back', 'forward'), ('down', 'up'))
"""Words for less and more along x, y and z."""
MOVED_M = 0.01
"""An object that is this far from where it stood has been moved."""
DONE_M = 0.1
"""Distance of object or hand to the goal at the end of an episode that was a success."""
STEP_M = 0.02
"""A displacement over the chunk that is worth a word."""
SHARE = 0.4
"""Share of the largest displacement that the others must have for a word of their own."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """One entry a frame."""

    subtask: list[str]
    movement: list[str]
    subgoal: np.ndarray
    """Position of the hand at the end of the phase, float32 [N, 3], NaN where there is none."""


def annotate(data: Demonstrations) -> Annotations:
    """Return the phases of all frames."""
    labels, chunks = data.labels.numpy(), data.chunk.numpy()
    subtask: list[str] = []
    subgoal: np.ndarray = np.full((len(data), 3), np.nan, np.float32)
    starts = np.flatnonzero(data.first == np.arange(len(data)))
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        task = TASKS[data.task[start]]
        switch = start + _switch(task, labels[start:end])
        before, after = PHASES[task]
        subtask += [before] * (switch - start) + [after] * (end - switch)
        if switch < end:
            subgoal[start:switch] = labels[switch, :3]
        if _done(task, labels[end - 1]):
            subgoal[switch:end] = labels[end - 1, :3]
    movement = [movement_of(chunk) for chunk in chunks]
    return Annotations(subtask, movement, subgoal)


def movement_of(chunk: np.ndarray) -> str:
    """Return the words for actions [H, 4]: displacements a step [m] and gripper effort."""
    moved = chunk[:, :3].sum(0)
    size = np.abs(moved)
    told = (size >= STEP_M) & (size >= SHARE * size.max())
    words = [names[int(value > 0)] for names, value in zip(DIRECTIONS, moved, strict=True)]
    where = ' and '.join(word for word, tell in zip(words, told, strict=True) if tell)
    gripper = 'closed' if chunk[:, 3].mean() > 0 else 'open'
    return f'{f"move {where}" if where else STILL} with {gripper} gripper'


def vocabulary() -> list[str]:
    """Return all words of all phrases, sorted."""
    phrases = [phrase for pair in PHASES.values() for phrase in pair]
    phrases += [NOTHING, STILL, 'move and with closed open gripper']
    phrases += [word for names in DIRECTIONS for word in names]
    return sorted({word for phrase in phrases for word in phrase.split()})


def _switch(task: str, labels: np.ndarray) -> int:
    """Return the first frame of an episode [T, 9] in which the object has moved, or its length."""
    if task == 'reach-v3':
        return 0
    # Some objects are put in place in the first step of the simulation.
    stood = labels[min(1, len(labels) - 1), 3:6]
    moved = np.linalg.norm(labels[1:, 3:6] - stood, axis=1) > MOVED_M
    return 1 + int(moved.argmax()) if moved.any() else len(labels)


def _done(task: str, labels: np.ndarray) -> bool:
    thing = labels[:3] if task == 'reach-v3' else labels[3:6]
    return float(np.linalg.norm(thing - labels[6:9])) < DONE_M
