# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Demonstrations in memory, and the batches that train a policy."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from efficient_vla.errors import UsageError
from efficient_vla.sim.metaworld.tasks import TABLETOP_TASKS, TASKS
from efficient_vla.training.instructions import nonsense, paraphrases

MAX_PLAN_AGE_STEPS = 80
"""A plan that trains the fast policy is up to this many simulation steps (1 s) old."""
UNFIT_SHARE = 0.08
"""Share of samples whose sentence asks for nothing that the scene offers; the arm holds still."""


@dataclass(slots=True)
class Batch:
    """One training batch; the slow frame is the one the plan is made from."""

    slow_image: torch.Tensor
    """uint8 [B, rows, columns, 3]."""
    slow_state: torch.Tensor
    slow_chunk: torch.Tensor
    slow_labels: torch.Tensor
    fast_image: torch.Tensor
    fast_state: torch.Tensor
    fast_chunk: torch.Tensor
    fast_labels: torch.Tensor
    sentences: list[str]
    fit: torch.Tensor
    """bool [B]: whether the sentence asks for what the chunk does."""


class Demonstrations:
    """All frames of a folder of episodes, each with its episode's history."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        """Load ``*.npz`` as `efficient-vla data` writes them."""
        paths = sorted(folder.glob('*.npz'))[:limit]
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

    def batch(self, fast: np.ndarray, rng: np.random.Generator) -> Batch:
        """Return the samples of these frames, each with a slow frame and a sentence."""
        slow = self.slow_frames(fast, rng)
        sentences, fit = self.sentences(fast, rng)
        return Batch(
            self.image[slow],
            self.state[slow],
            self.chunk[slow],
            self.labels[slow],
            self.image[fast],
            self.state[fast],
            self.chunk[fast],
            self.labels[fast],
            sentences,
            torch.from_numpy(fit),
        )

    def slow_frames(self, fast: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return frames of the same episodes, up to ``MAX_PLAN_AGE_STEPS`` earlier."""
        slow = fast.copy()
        for index, frame in enumerate(fast):
            if rng.random() < 0.7:
                recent = np.arange(self.first[frame], frame + 1)
                recent = recent[self.step[frame] - self.step[recent] <= MAX_PLAN_AGE_STEPS]
                slow[index] = rng.choice(recent)
        return slow

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
            others = [t for t in range(len(TASKS)) if not _same_scene(t, self.scene[frame])]
            chosen.append(
                nonsense(words)
                if rng.random() < 0.5
                else words.choice(_SENTENCES[words.choice(others)])
            )
        return chosen, fit


_SENTENCES = [paraphrases(task) for task in TASKS]
_TABLETOP = {TASKS.index(task) for task in TABLETOP_TASKS}


def _same_scene(task: int, scene: int) -> bool:
    return task == scene or {task, scene} <= _TABLETOP
