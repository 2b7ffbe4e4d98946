# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Write a LeRobotDataset v3.0, which LeRobot's loader and trainer read.

Layout: ``meta/info.json``, ``meta/stats.json``, ``meta/tasks.parquet`` and
``meta/episodes/chunk-000/file-000.parquet``; one row a frame in
``data/chunk-000/file-000.parquet``; the images of all episodes, one after the other, in
``videos/observation.images.<camera>/chunk-000/file-000.mp4``. A folder without ``meta/info.json``
was not finished.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla.claims import claimed
from efficient_vla.errors import UsageError
from efficient_vla.training import lerobot_statistics as statistics
from efficient_vla.training.lerobot_tables import EpisodeTable, FrameTable, write_tasks
from efficient_vla.training.lerobot_video import VideoFile, video_facts

VERSION = 'v3.0'
FILE = 'chunk-000/file-000'
FILES_A_CHUNK = 1000
DATA_MB = 100
VIDEO_MB = 200
"""What LeRobot lets a file grow to; ours are one each, since nothing reads the limits back."""
DEFAULT_FEATURES = {
    'timestamp': 'float32',
    'frame_index': 'int64',
    'episode_index': 'int64',
    'index': 'int64',
    'task_index': 'int64',
}


@dataclass(frozen=True)
class DatasetLayout:
    """What the frames of a dataset hold."""

    fps: int
    cameras: Mapping[str, tuple[int, int]]
    """Camera -> rows and columns of its images."""
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    robot_type: str

    def features(self) -> dict[str, dict[str, Any]]:
        """Return the features as ``meta/info.json`` names them."""
        vectors = {'action': self.action_names, 'observation.state': self.state_names}
        return {
            **{
                name: {'dtype': 'float32', 'shape': [len(columns)], 'names': list(columns)}
                for name, columns in vectors.items()
            },
            **{
                f'observation.images.{camera}': {
                    'dtype': 'video',
                    'shape': [rows, columns, 3],
                    'names': ['height', 'width', 'channels'],
                    'info': video_facts(rows, columns, self.fps),
                }
                for camera, (rows, columns) in self.cameras.items()
            },
            **{
                name: {'dtype': dtype, 'shape': [1], 'names': None}
                for name, dtype in DEFAULT_FEATURES.items()
            },
        }


class DatasetWriter:
    """Write episodes one after the other; use as a context manager.

    The dataset is finished where the block ends without an error.
    """

    def __init__(self, root: Path, layout: DatasetLayout) -> None:
        """Begin a dataset in ``root``, which must hold none and which no other run may write.

        Raises ``UsageError`` where it does, another run is at it, or the layout is none that a
        video can hold.
        """
        if layout.fps < 1 or layout.fps != int(layout.fps):
            raise UsageError(
                f'{layout.fps} frames a second; LeRobot expects a whole number, at least 1.'
            )
        for camera, (rows, columns) in layout.cameras.items():
            if rows % 2 or columns % 2:
                raise UsageError(
                    f'images of {camera} have {rows} x {columns} pixels; the video format expects '
                    'even numbers. Choose another --image-size.'
                )
        with ExitStack() as claim:
            claim.enter_context(claimed(root))
            if (root / 'meta/info.json').exists():
                raise UsageError(
                    f'{root} holds a dataset already; choose another --out or remove it.'
                )
            self._claim = claim.pop_all()
        self.root, self.layout = root, layout
        self.tasks: list[str] = []
        self.frames = 0
        self._frames = FrameTable(
            root / f'data/{FILE}.parquet', len(layout.action_names), len(layout.state_names)
        )
        self._episodes = EpisodeTable(root / f'meta/episodes/{FILE}.parquet')
        self._videos = {
            camera: VideoFile(
                root / f'videos/observation.images.{camera}/{FILE}.mp4', *size, layout.fps
            )
            for camera, size in layout.cameras.items()
        }
        self._statistics: list[dict[str, statistics.Statistics]] = []

    @property
    def episodes(self) -> int:
        """Episodes written so far."""
        return len(self._statistics)

    def add_episode(
        self,
        images: Mapping[str, np.ndarray],
        state: np.ndarray,
        action: np.ndarray,
        sentence: str,
    ) -> None:
        """Append an episode of T frames, ``fps`` apart, in which ``sentence`` was asked for.

        Images are uint8 [T, rows, columns, 3] of every camera, ``state`` is float32 [T, S] and
        ``action`` float32 [T, A]. Raises ``UsageError`` for data of another shape or not finite.
        """
        self._check(images, state, action)
        if sentence not in self.tasks:
            self.tasks.append(sentence)
        length, fps = len(state), self.layout.fps
        steps = np.arange(length)
        columns = {
            'action': action,
            'observation.state': state,
            'timestamp': (steps / fps).astype(np.float32),
            'frame_index': steps,
            'episode_index': np.full(length, self.episodes),
            'index': self.frames + steps,
            'task_index': np.full(length, self.tasks.index(sentence)),
        }
        found = {name: statistics.of_vectors(values) for name, values in columns.items()}
        for camera, seen in images.items():
            self._videos[camera].add(seen)
            found[f'observation.images.{camera}'] = statistics.of_images(seen)
        self._frames.add(columns)
        placed = {f'observation.images.{camera}': self.frames / fps for camera in images}
        self._episodes.add(self.episodes, sentence, self.frames, length, fps, placed, found)
        self._statistics.append(found)
        self.frames += length

    def _check(
        self, images: Mapping[str, np.ndarray], state: np.ndarray, action: np.ndarray
    ) -> None:
        length = len(state)
        wanted = {
            'state': (state, (length, len(self.layout.state_names)), np.float32),
            'action': (action, (length, len(self.layout.action_names)), np.float32),
        } | {
            camera: (images.get(camera, np.empty(0)), (length, *size, 3), np.uint8)
            for camera, size in self.layout.cameras.items()
        }
        for name, (values, shape, dtype) in wanted.items():
            if values.shape != shape or values.dtype != dtype or not length:
                raise UsageError(
                    f'episode {self.episodes}: {name} is {values.dtype} {list(values.shape)}; '
                    f'expected {np.dtype(dtype)} {list(shape)} with at least one frame.'
                )
            if dtype == np.float32 and not np.isfinite(values).all():
                raise UsageError(
                    f'episode {self.episodes}: {name} holds a number that is not finite; leave '
                    'the episode out.'
                )

    def close(self) -> None:
        """Finish the dataset."""
        self._close_files()
        if not self.episodes:
            raise UsageError('no episode to write; record at least one.')
        meta = self.root / 'meta'
        write_tasks(meta / 'tasks.parquet', self.tasks)
        whole = {
            name: statistics.combined([episode[name] for episode in self._statistics])
            for name in self._statistics[0]
        }
        _write_json(
            meta / 'stats.json',
            {
                feature: {name: value.tolist() for name, value in found.items()}
                for feature, found in whole.items()
            },
        )
        _write_json(
            meta / 'info.json',
            {
                'codebase_version': VERSION,
                'fps': self.layout.fps,
                'features': self.layout.features(),
                'total_episodes': self.episodes,
                'total_frames': self.frames,
                'total_tasks': len(self.tasks),
                'chunks_size': FILES_A_CHUNK,
                'data_files_size_in_mb': DATA_MB,
                'video_files_size_in_mb': VIDEO_MB,
                'data_path': 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
                'video_path': (
                    'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'
                ),
                'robot_type': self.layout.robot_type,
                'splits': {'train': f'0:{self.episodes}'},
            },
        )

    def _close_files(self) -> None:
        self._frames.close()
        self._episodes.close()
        for video in self._videos.values():
            video.close()
        self._claim.close()

    def __enter__(self) -> 'DatasetWriter':
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._close_files()


def _write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + '\n')
