# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of a robot, a LeRobotDataset, as what a policy of this package is trained on."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from efficient_vla.bringup.graph import ProfileError, robot_met
from efficient_vla.errors import UsageError
from efficient_vla.joint_settings import POSITIONS
from efficient_vla.joints import joints_of
from efficient_vla.settings import InvalidSettingError
from efficient_vla.training.dataset import Demonstrations, Frames
from efficient_vla.training.instructions import corpus, polite
from efficient_vla.training.lerobot_reading import Dataset, read_dataset, read_images
from efficient_vla.types import RefusedChunkError

CHUNK_S = 0.8
"""Time that a chunk lasts; after the end of an episode its last row is held."""
IMAGE_S = 0.05
"""Images this far apart are trained on; neighbours show the same."""
LEAST_SCALE = 1e-3
"""Columns that hardly move are not scaled up further than this [rad or m]."""


def demonstrations(
    folder: Path, robot: str = '', camera: str = '', image_size: int = 144
) -> Frames:
    """Return what lies in a folder: a LeRobotDataset, or episodes of Meta-World."""
    if (folder / 'meta').is_dir():
        return Recordings(folder, robot, camera, image_size)
    if robot or camera:
        raise UsageError(
            f'--robot and --camera are for a LeRobotDataset; {folder} is none, since it has no '
            'meta/info.json. Leave them out.'
        )
    return Demonstrations(folder)


class Recordings(Frames):
    """Some frames of a dataset; every frame is the first of a chunk."""

    def __init__(self, folder: Path, robot: str, camera: str, image_size: int) -> None:
        """Load the dataset in ``folder``.

        ``robot`` is the profile that says what its columns are, by default of the robot that it
        was recorded with. Positions are counted from the measured state. Auxiliary targets are
        where the joints are, and where they are at the end of the episode.
        """
        dataset = read_dataset(folder, camera)
        self.dataset, self.dt = dataset, 1 / dataset.fps
        self.joints = _joints(dataset, robot or dataset.robot)
        names = self.joints.state_names
        self._origin = [names.index(n) if n in names else -1 for n in self.joints.action_names]
        rows, every = max(4, round(CHUNK_S * dataset.fps)), max(1, round(IMAGE_S * dataset.fps))
        state, chunk, end, step, task = [], [], [], [], []
        first: list[int] = []
        self._sentences = sorted({episode.sentence for episode in dataset.episodes})
        for episode in dataset.episodes:
            kept = np.arange(0, len(episode.state), every)
            places, action = self._robot(episode.state, episode.action)
            ahead = np.minimum(kept[:, None] + np.arange(rows), len(action) - 1)  # [F, H]
            first += [len(first)] * len(kept)
            state.append(places[kept])
            chunk.append(action[ahead] - self._counted_from(places[kept])[:, None])
            end.append(np.tile(places[-1], (len(kept), 1)))
            step.append(kept)
            task += [self._sentences.index(episode.sentence)] * len(kept)
        self.image = torch.from_numpy(read_images(dataset, every, image_size))
        self.state, self.chunk = (torch.from_numpy(np.concatenate(p)) for p in (state, chunk))
        self.labels = torch.cat([self.state, torch.from_numpy(np.concatenate(end))], 1)
        self.label_scale = self.labels.std(0).clamp(min=10 * LEAST_SCALE)
        self.step, self.first, self.task = np.concatenate(step), np.array(first), np.array(task)
        self.episodes = len(dataset.episodes)

    def _robot(self, state: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return states and rows, float32 [T, S] and [T, A], in the robot's units."""
        counted = self.joints.state
        measured = (state * counted.scale + counted.shift).astype(np.float32)
        try:
            return measured, self.joints.rows_to_robot(action)
        except RefusedChunkError as error:
            raise UsageError(
                f'the dataset does not fit the profile of its robot: {error}'
            ) from error

    def _counted_from(self, state: np.ndarray) -> np.ndarray:
        """Return what rows are counted from at states [F, S], [F, A]."""
        origin = np.array(self._origin)
        if self.joints.control_mode.name.lower() not in POSITIONS:
            return np.zeros((len(state), len(origin)), np.float32)
        return np.where(origin >= 0, state[:, origin], np.float32(0))

    def said(self) -> list[str]:
        """Return the sentences of the dataset as they are, in the order of ``task``."""
        return self._sentences

    def corpus(self) -> list[str]:
        """Return the sentences of the dataset, in the ways to ask for them."""
        return corpus([line for sentence in self._sentences for line in polite(sentence)])

    def units(self) -> dict[str, Any]:
        """Return the fields of a policy's card that the data decide."""
        scale = self.chunk.flatten(0, 1).std(0).clamp(min=LEAST_SCALE)
        return {
            'cameras': (self.dataset.camera,),
            'state_names': self.joints.state_names,
            'action_names': self.joints.action_names,
            'action_scale': tuple(scale.tolist()),
            'control_mode': self.joints.control_mode.name,
            **self._scaled(),
        }

    def _sentence(self, frame: int, words: random.Random) -> str:
        return words.choice(polite(self._sentences[self.task[frame]]))


def _joints(dataset: Dataset, robot: str) -> Any:
    """Return how the dataset counts the columns of the robot."""
    episode = dataset.episodes[0]
    try:
        settings = robot_met(robot, {}).joints
        widths = episode.state.shape[1], episode.action.shape[1]
        return joints_of(settings, *widths, dataset.action_names)
    except (ProfileError, InvalidSettingError) as error:
        raise UsageError(f'--robot {robot}: {error}') from error
