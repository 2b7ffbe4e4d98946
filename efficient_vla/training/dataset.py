# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Demonstrations in memory, and the batches that train a policy."""

import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from efficient_vla.errors import UsageError
from efficient_vla.sim.metaworld.tasks import TABLETOP_TASKS, TASKS
from efficient_vla.training.instructions import nonsense, paraphrases

MAX_PLAN_AGE_STEPS = 80
"""A plan that trains the fast policy is up to this many simulation steps (1 s) old."""
UNFIT_SHARE = 0.08
"""Share of samples whose sentence asks for nothing that the scene offers; the arm holds still."""


class Moments(NamedTuple):
    """What demonstrations hold of some frames."""

    image: torch.Tensor
    """uint8 [B, rows, columns, 3]."""
    state: torch.Tensor
    chunk: torch.Tensor
    labels: torch.Tensor


class Demonstrations:
    """All frames of a folder of episodes, each with its episode's history."""

    def __init__(self, folder: Path) -> None:
        """Load ``*.npz`` as `efficient-vla data` writes them."""
        paths = sorted(folder.glob('*.npz'))
        if not paths:
            raise UsageError(f'no episodes in {folder}; run efficient-vla data --out {folder}.')
        parts: dict[str, list] = {k: [] for k in ('image', 'state', 'chunk', 'labels', 'step')}
        first, scenes, tasks, offset = [], [], [], 0
        for path in paths:
            scene, task, _ = path.stem.split('.')
            with np.load(path, allow_pickle=False) as episode:
                length = len(episode['step'])
                for key, values in parts.items():
                    values.append(episode[key])
            first += [offset] * length
            scenes += [TASKS.index(scene)] * length
            tasks += [TASKS.index(task)] * length
            offset += length
        self.image = torch.from_numpy(np.concatenate(parts['image']))
        self.state = torch.from_numpy(np.concatenate(parts['state']))
        self.chunk = torch.from_numpy(np.concatenate(parts['chunk']))
        self.labels = torch.from_numpy(np.concatenate(parts['labels']))
        self.step = np.concatenate(parts['step'])
        self.first, self.scene, self.task = np.array(first), np.array(scenes), np.array(tasks)
        self.episodes = len(paths)

    def __len__(self) -> int:
        return len(self.step)

    def units(self) -> dict[str, Any]:
        """Return the fields of a policy's card that the data decide."""
        names = ('x', 'y', 'z', 'gripper')
        return {
            'cameras': ('corner2',),
            'state_names': names,
            'state_mean': tuple(self.state.mean(0).tolist()),
            'state_std': tuple(self.state.std(0).clamp(min=1e-3).tolist()),
            'action_names': names,
            'action_scale': (0.01, 0.01, 0.01, 1.0),
            'control_mode': 'EE_DELTA',
            'horizon': self.chunk.shape[1],
            'dt': 0.0125,
        }

    def at(self, frames: np.ndarray) -> Moments:
        """Return these frames."""
        return Moments(
            self.image[frames], self.state[frames], self.chunk[frames], self.labels[frames]
        )

    def slow_frames(self, fast: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return frames of the same episodes, up to ``MAX_PLAN_AGE_STEPS`` earlier."""
        slow = fast.copy()
        for index, frame in enumerate(fast):
            if rng.random() < 0.7:
                slow[index] = rng.choice(self._near(frame, self.first[frame], frame + 1))
        return slow

    def later_frames(self, slow: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return frames of the same episodes, up to ``MAX_PLAN_AGE_STEPS`` later."""
        ends = np.searchsorted(self.first, self.first[slow], side='right')
        near = [self._near(frame, frame, end) for frame, end in zip(slow, ends, strict=True)]
        return np.array([rng.choice(frames) for frames in near])

    def _near(self, frame: int, start: int, end: int) -> np.ndarray:
        frames = np.arange(start, end)
        return frames[np.abs(self.step[frames] - self.step[frame]) <= MAX_PLAN_AGE_STEPS]

    def sentences(
        self, frames: np.ndarray, rng: np.random.Generator
    ) -> tuple[list[str], np.ndarray]:
        """Return a sentence a frame, and which of them the scene can satisfy."""
        words = random.Random(int(rng.integers(2**31)))
        chosen, fit = [], np.ones(len(frames), bool)
        for index, frame in enumerate(frames):
            if rng.random() >= UNFIT_SHARE:
                chosen.append(words.choice(_SENTENCES[self.task[frame]]))
                continue
            fit[index] = False
            scene = self.scene[frame]
            others = [t for t in range(len(TASKS)) if t != scene and not {t, scene} <= _TABLETOP]
            chosen.append(
                nonsense(words)
                if rng.random() < 0.5
                else words.choice(_SENTENCES[words.choice(others)])
            )
        return chosen, fit


_SENTENCES = [paraphrases(task) for task in TASKS]
_TABLETOP = {TASKS.index(task) for task in TABLETOP_TASKS}
