# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Load a dataset of ours with LeRobot's own loader and compare it; run by a Python with LeRobot.

``python benchmarks/roundtrip/check_dataset.py DATASET``. Rows come through ``LeRobotDataset`` with
a chunk of actions, and images through its decoder. Statistics of all episodes are computed anew by
LeRobot and compared with ``meta/stats.json``; those of images in two steps, since video is not
exactly what was recorded: LeRobot's of some decoded episodes with ours of the same pixels, and the
mean of the decoded video with ``meta/stats.json``.
"""

import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

CHUNK = 40
LIMIT = 1e-6
IMAGE_LIMIT = 0.01
"""Of the mean of a channel, from 0 to 1, that compression may move."""


def rows_differ(root: Path, dataset: Any, frames: int) -> float:
    """Return the largest difference of what the loader gives and what the parquet file holds."""
    table = pq.read_table(root / 'data/chunk-000/file-000.parquet').to_pydict()
    action = np.array(table['action'], np.float32)
    state = np.array(table['observation.state'], np.float32)
    episode = np.array(table['episode_index'])
    worst = 0.0
    for index in np.linspace(0, frames - 1, min(frames, 400)).astype(int):
        item = dataset[int(index)]
        last = int(np.flatnonzero(episode == episode[index])[-1])
        wanted = action[np.minimum(np.arange(index, index + CHUNK), last)]
        padded = np.arange(index, index + CHUNK) > last
        assert np.array_equal(item['action_is_pad'].numpy(), padded), index
        worst = max(
            worst,
            float(np.abs(item['action'].numpy() - wanted).max()),
            float(np.abs(item['observation.state'].numpy() - state[index]).max()),
        )
    return worst


def statistics_differ(root: Path, meta: Any) -> dict[str, float]:
    """Return feature -> largest difference of our statistics and LeRobot's own."""
    from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats

    table = pq.read_table(root / 'data/chunk-000/file-000.parquet')
    features = {
        key: feature for key, feature in meta.features.items() if feature['dtype'] != 'video'
    }
    of_episodes = []
    for episode in meta.episodes:
        part = table.slice(
            episode['dataset_from_index'],
            episode['dataset_to_index'] - episode['dataset_from_index'],
        )
        columns = {
            key: np.array(part[key].to_pylist(), dtype=feature['dtype'])
            for key, feature in features.items()
        }
        of_episodes.append(compute_episode_stats(columns, features))
    theirs = aggregate_stats(of_episodes)
    ours = json.loads((root / 'meta/stats.json').read_text())
    return {
        key: max(
            float(np.abs(np.asarray(value) - np.asarray(ours[key][name])).max())
            for name, value in found.items()
        )
        for key, found in theirs.items()
    }


def image_statistics_differ(root: Path, meta: Any, dataset: Any) -> float:
    """Return the largest difference of LeRobot's and our statistics of the same images."""
    from lerobot.datasets.compute_stats import compute_episode_stats
    from PIL import Image

    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from efficient_vla.training.lerobot_statistics import of_images

    worst = 0.0
    for episode in list(meta.episodes)[:3]:
        for key in meta.video_keys:
            frames = range(episode['dataset_from_index'], episode['dataset_to_index'])
            images = [dataset[frame][key].numpy().transpose(1, 2, 0) for frame in frames]
            pixels = np.round(np.stack(images) * 255).astype(np.uint8)
            with tempfile.TemporaryDirectory() as folder:
                paths = [f'{folder}/{number:06d}.png' for number in range(len(pixels))]
                for path, image in zip(paths, pixels, strict=True):
                    Image.fromarray(image).save(path)
                theirs = compute_episode_stats({key: paths}, {key: meta.features[key]})[key]
            ours = of_images(pixels)
            worst = max(worst, *(float(np.abs(ours[k] - v).max()) for k, v in theirs.items()))
    return worst


def images_differ(root: Path, meta: Any, dataset: Any) -> dict[str, float]:
    """Return camera -> largest difference of a channel's mean, in the video and as we say."""
    ours = json.loads((root / 'meta/stats.json').read_text())
    frames = np.linspace(0, len(dataset) - 1, 200).astype(int)
    found = {}
    for key in meta.video_keys:
        means = [dataset[int(i)][key].numpy().mean((1, 2)) for i in frames]
        found[key] = float(np.abs(np.mean(means, 0) - np.ravel(ours[key]['mean'])).max())
    return found


def main() -> int:
    """Compare, and say what was found."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    root = Path(sys.argv[1])
    fps = json.loads((root / 'meta/info.json').read_text())['fps']
    dataset = LeRobotDataset(
        'local/check',
        root=root,
        video_backend='pyav',
        delta_timestamps={'action': [step / fps for step in range(CHUNK)]},
    )
    meta = dataset.meta
    found = {
        'lerobot': importlib.metadata.version('lerobot'),
        'episodes': meta.total_episodes,
        'frames': meta.total_frames,
        'tasks': list(meta.tasks.index),
        'rows': rows_differ(root, dataset, len(dataset)),
        'statistics': statistics_differ(root, meta),
        'image_statistics': image_statistics_differ(root, meta, dataset),
        'images': images_differ(root, meta, dataset),
    }
    sys.stdout.write(json.dumps(found, indent=1) + '\n')
    good = max(found['rows'], found['image_statistics'], *found['statistics'].values()) <= LIMIT
    return 0 if good and max(found['images'].values()) <= IMAGE_LIMIT else 1


if __name__ == '__main__':
    sys.exit(main())
