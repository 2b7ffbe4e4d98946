# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Read a LeRobotDataset v3.0: all its numbers, and images of one camera."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.perception.preprocess import shrink

VERSION = 'v3.'
STATE, ACTION = 'observation.state', 'action'
IMAGES = 'observation.images.'


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode, in the units of the dataset."""

    sentence: str
    state: np.ndarray
    """float32 [T, S]."""
    action: np.ndarray
    """float32 [T, A]."""
    video: Path
    first_image: int
    """Number of its first frame in the video."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What ``meta/info.json`` says, and the episodes."""

    robot: str
    fps: int
    camera: str
    action_names: tuple[str, ...]
    episodes: tuple[Episode, ...]


def read_dataset(root: Path, camera: str = '') -> Dataset:
    """Read the numbers of a dataset; ``camera`` is needed where it has several.

    Raises ``UsageError`` where it is damaged, of another version or lacks what training needs.
    """
    try:
        info = read_json(root / 'meta/info.json')
        camera = _camera(root, info, camera)
        return Dataset(
            str(info.get('robot_type')),
            int(info['fps']),
            camera,
            tuple(info['features'][ACTION].get('names') or ()),
            tuple(_episodes(root, info, IMAGES + camera)),
        )
    except (CheckpointError, OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise UsageError(
            f'{root} cannot be read as a LeRobotDataset: {type(error).__name__}: {error}. '
            'Copy or record it again.'
        ) from error


def _camera(root: Path, info: dict[str, Any], wanted: str) -> str:
    """Return the camera whose video is read."""
    version, features = str(info.get('codebase_version')), info['features']
    if not version.startswith(VERSION):
        raise UsageError(
            f'{root} is a dataset of version {version}; expected {VERSION}x. Convert it with '
            'python -m lerobot.datasets.v30.convert_dataset_v21_to_v30.'
        )
    missing = {STATE, ACTION} - set(features)
    if missing:
        raise UsageError(f'{root} has no {missing.pop()}; expected {STATE} and {ACTION}.')
    cameras = [
        name.removeprefix(IMAGES)
        for name, feature in features.items()
        if name.startswith(IMAGES) and feature['dtype'] == 'video'
    ]
    if wanted in cameras:
        return wanted
    if wanted or len(cameras) != 1:
        raise UsageError(
            f'--camera is {wanted!r} and {root} has videos of {", ".join(cameras) or "none"}; '
            'expected one of them.'
        )
    return cameras[0]


def _episodes(root: Path, info: dict[str, Any], video: str) -> list[Episode]:
    """Return all episodes in their order."""
    frames = _table(root / 'data', [STATE, ACTION, 'task_index', 'episode_index'])
    tasks = pq.read_table(root / 'meta/tasks.parquet').to_pydict()
    named = {'task' if name.startswith('__') else name: column for name, column in tasks.items()}
    sentences = dict(zip(named['task_index'], named['task'], strict=True))
    place = [f'videos/{video}/{name}' for name in ('chunk_index', 'file_index', 'from_timestamp')]
    span = ['episode_index', 'dataset_from_index', 'dataset_to_index']
    state, action = (_vectors(root, frames, name) for name in (STATE, ACTION))
    found = []
    for row in _table(root / 'meta/episodes', [*span, *place]).to_pylist():
        index, begin, end = (row[name] for name in span)
        chunk, file, start = (row[name] for name in place)
        if not 0 <= begin < end <= len(state) or frames['episode_index'][begin].as_py() != index:
            raise UsageError(f'{root}: episode {index} lies outside of its data. Copy it again.')
        path = info['video_path'].format(video_key=video, chunk_index=chunk, file_index=file)
        sentence = sentences[frames['task_index'][begin].as_py()]
        first = round(start * info['fps'])
        found.append(Episode(sentence, state[begin:end], action[begin:end], root / path, first))
    return found


def _table(folder: Path, columns: list[str]) -> pa.Table:
    """Return the tables of a folder, one below the other."""
    paths = sorted(folder.glob('chunk-*/file-*.parquet'))
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])


def _vectors(root: Path, table: pa.Table, name: str) -> np.ndarray:
    values = np.stack(table[name].to_numpy()).astype(np.float32)
    if not np.isfinite(values).all():
        raise UsageError(f'{root}: {name} holds a number that is not finite. Record it again.')
    return values


def read_images(dataset: Dataset, every: int, side: int) -> np.ndarray:
    """Return every so manieth image of every episode, uint8 [F, side, side, 3].

    They are padded to squares and shrunk as the stages do.
    """
    wanted: dict[Path, dict[int, int]] = defaultdict(dict)
    count = 0
    for episode in dataset.episodes:
        for number in range(0, len(episode.state), every):
            wanted[episode.video][episode.first_image + number] = count
            count += 1
    images = np.empty((count, side, side, 3), np.uint8)
    for path, places in wanted.items():
        left = len(places)
        for number, image in enumerate(_frames(path)):
            if number in places:
                images[places[number]] = shrink(image, side)
                left -= 1
                if not left:
                    break
        if left:
            raise UsageError(f'{path} ends {left} images early. Copy the dataset again.')
    return images


def _frames(path: Path) -> Any:
    """Yield the images of a video, uint8 [rows, columns, 3]."""
    import imageio_ffmpeg

    if not path.is_file():
        raise UsageError(f'{path} is missing. Copy the dataset again.')
    frames = imageio_ffmpeg.read_frames(str(path))
    columns, rows = next(frames)['size']
    for frame in frames:
        yield np.frombuffer(frame, np.uint8).reshape(rows, columns, 3)
