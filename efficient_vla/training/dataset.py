# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Demonstrations in memory, and the batches that train a policy."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from efficient_vla.errors import UsageError
from efficient_vla.sim.metaworld.tasks import TABLETOP_TASKS, TASKS
from efficient_vla.training.instructions import corpus, nonsense, paraphrases

MAX_PLAN_AGE_S = 1.0
"""A plan that trains the fast policy is at most this old."""
UNFIT_SHARE = 0.08
"""Share of samples whose sentence asks for nothing that the scene offers; the arm holds still."""
METAWORLD_DT = 0.0125


class Moments(NamedTuple):
    """What demonstrations hold of some frames."""

    image: torch.Tensor
    """uint8 [B, rows, columns, 3]."""
    state: torch.Tensor
    chunk: torch.Tensor
    labels: torch.Tensor


class Frames(ABC):
    """Frames of episodes, each with its episode's history."""

    image: torch.Tensor
    """uint8 [F, rows, columns, 3]."""
    state: torch.Tensor
    """[F, S], in the robot's units."""
    chunk: torch.Tensor
    """[F, H, A], in the robot's units."""
    labels: torch.Tensor
    """[F, L], auxiliary targets."""
    label_scale: torch.Tensor
    """[L]: what 1 in an auxiliary target stands for."""
    step: np.ndarray
    """[F], of ``dt`` each since the episode began."""
    first: np.ndarray
    """[F], the first frame of the episode."""
    episodes: int
    dt: float
    """Seconds a row lasts."""

    def __len__(self) -> int:
        return len(self.step)

    @abstractmethod
    def corpus(self) -> list[str]:
        """Return what the tokenizer is trained on."""

    @abstractmethod
    def units(self) -> dict[str, Any]:
        """Return the fields of a policy's card that the data decide."""

    @abstractmethod
    def _sentence(self, frame: int, words: random.Random) -> str:
        """Return a sentence that asks for what the frame shows."""

    def _unfit(self, frame: int, words: random.Random) -> str:
        """Return a sentence that asks for nothing the scene offers."""
        return nonsense(words)

    def _scaled(self) -> dict[str, Any]:
        """Return what all cards say of the numbers."""
        return {
            'state_mean': tuple(self.state.mean(0).tolist()),
            'state_std': tuple(self.state.std(0).clamp(min=1e-3).tolist()),
            'horizon': self.chunk.shape[1],
            'dt': self.dt,
        }

    def at(self, frames: np.ndarray) -> Moments:
        """Return these frames."""
        return Moments(
            self.image[frames], self.state[frames], self.chunk[frames], self.labels[frames]
        )

    def slow_frames(self, fast: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return frames of the same episodes, up to ``MAX_PLAN_AGE_S`` earlier."""
        slow = fast.copy()
        for index, frame in enumerate(fast):
            if rng.random() < 0.7:
                slow[index] = rng.choice(self._near(frame, self.first[frame], frame + 1))
        return slow

    def later_frames(
        self, slow: np.ndarray, rng: np.random.Generator, most_s: float = MAX_PLAN_AGE_S
    ) -> np.ndarray:
        """Return frames of the same episodes, up to ``most_s`` later."""
        ends = np.searchsorted(self.first, self.first[slow], side='right')
        near = [self._near(f, f, end, most_s) for f, end in zip(slow, ends, strict=True)]
        return np.array([rng.choice(frames) for frames in near])

    def _near(self, frame: int, start: int, end: int, most_s: float = MAX_PLAN_AGE_S) -> np.ndarray:
        frames = np.arange(start, end)
        most = round(most_s / self.dt)
        return frames[np.abs(self.step[frames] - self.step[frame]) <= most]

    def sentences(
        self, frames: Sequence[int] | np.ndarray, rng: np.random.Generator
    ) -> tuple[list[str], np.ndarray]:
        """Return a sentence a frame, and which of them the scene can satisfy."""
        words = random.Random(int(rng.integers(2**31)))
        fit = rng.random(len(frames)) >= UNFIT_SHARE
        chosen = [
            self._sentence(frame, words) if fits else self._unfit(frame, words)
            for frame, fits in zip(frames, fit, strict=True)
        ]
        return chosen, fit


class Demonstrations(Frames):
    """All frames of a folder of episodes of Meta-World."""

    dt = METAWORLD_DT

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
        # Hand, object and goal position [m].
        self.labels = torch.from_numpy(np.concatenate(parts['labels']))
        self.label_scale = torch.full((self.labels.shape[1],), 0.1)
        self.step = np.concatenate(parts['step'])
        self.first, self.scene, self.task = np.array(first), np.array(scenes), np.array(tasks)
        self.episodes = len(paths)

    def corpus(self) -> list[str]:
        """Return all paraphrases of all tasks."""
        return corpus()

    def units(self) -> dict[str, Any]:
        """Return the fields of a policy's card that the data decide."""
        names = ('x', 'y', 'z', 'gripper')
        return {
            'cameras': ('corner2',),
            'state_names': names,
            'action_names': names,
            'action_scale': (0.01, 0.01, 0.01, 1.0),
            'control_mode': 'EE_DELTA',
            **self._scaled(),
        }

    def _sentence(self, frame: int, words: random.Random) -> str:
        return words.choice(_SENTENCES[self.task[frame]])

    def _unfit(self, frame: int, words: random.Random) -> str:
        if words.random() < 0.5:
            return nonsense(words)
        scene = self.scene[frame]
        others = [t for t in range(len(TASKS)) if t != scene and not {t, scene} <= _TABLETOP]
        return words.choice(_SENTENCES[words.choice(others)])


_SENTENCES = [paraphrases(task) for task in TASKS]
_TABLETOP = {TASKS.index(task) for task in TABLETOP_TASKS}
