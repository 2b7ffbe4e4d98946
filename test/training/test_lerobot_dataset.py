# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A LeRobotDataset as pyarrow and a video decoder read it, without the code that wrote it."""

import json
import subprocess

import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest

from efficient_vla.errors import UsageError
from efficient_vla.training.lerobot_dataset import DatasetLayout, DatasetWriter

LENGTHS = (5, 3, 4)
SENTENCES = ('open the drawer', 'press the button', 'open the drawer')
LAYOUT = DatasetLayout(20, {'front': (32, 48)}, ('x', 'y', 'grip'), ('dx', 'dy'), 'sawyer')
VIDEO = 'videos/observation.images.front/chunk-000/file-000.mp4'


def episode(number: int, length: int) -> tuple[dict, np.ndarray, np.ndarray]:
    """Return images that change smoothly in space and clearly in time, states and actions."""
    rows, columns = np.mgrid[0:32, 0:48]
    images = np.stack(
        [
            np.stack([rows * 4 + 20 * number, columns * 3, rows * 0 + 30 * step + 20], axis=-1)
            for step in range(length)
        ]
    ).astype(np.uint8)
    rng = np.random.default_rng(number)
    return (
        {'front': images},
        rng.normal(size=(length, 3)).astype(np.float32),
        rng.normal(size=(length, 2)).astype(np.float32),
    )


EPISODES = [episode(number, length) for number, length in enumerate(LENGTHS)]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('dataset')
    with DatasetWriter(folder, LAYOUT) as writer:
        for (images, state, action), sentence in zip(EPISODES, SENTENCES, strict=True):
            writer.add_episode(images, state, action, sentence)
    return folder


@pytest.fixture(scope='module')
def info(root):
    return json.loads((root / 'meta/info.json').read_text())


def decoded(path, rows, columns):
    """Return all frames of a video, uint8 [T, rows, columns, 3]."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-i', str(path)]
    command += ['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-']
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, rows, columns, 3)


def test_every_frame_is_a_row_with_its_numbers(root):
    table = pq.read_table(root / 'data/chunk-000/file-000.parquet').to_pydict()
    assert np.array_equal(
        np.array(table['action'], np.float32), np.concatenate([one[2] for one in EPISODES])
    )
    assert np.array_equal(
        np.array(table['observation.state'], np.float32),
        np.concatenate([one[1] for one in EPISODES]),
    )
    assert table['frame_index'] == [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]
    assert table['episode_index'] == [0] * 5 + [1] * 3 + [2] * 4
    assert table['index'] == list(range(12))
    assert table['task_index'] == [0] * 5 + [1] * 3 + [0] * 4
    assert table['timestamp'] == pytest.approx(np.array(table['frame_index']) * 0.05)


def test_columns_have_the_types_that_lerobot_declares(root):
    schema = pq.read_schema(root / 'data/chunk-000/file-000.parquet')
    assert str(schema.field('action').type) == 'fixed_size_list<element: float>[2]'
    assert str(schema.field('observation.state').type) == 'fixed_size_list<element: float>[3]'
    assert str(schema.field('timestamp').type) == 'float'
    assert str(schema.field('task_index').type) == 'int64'


def test_the_video_shows_all_episodes_one_after_the_other(root):
    frames = decoded(root / VIDEO, 32, 48)
    wanted = np.concatenate([one[0]['front'] for one in EPISODES])
    assert frames.shape == wanted.shape
    assert np.abs(frames.astype(int) - wanted).mean() < 2
    # The blue channel tells the frames of an episode apart by 30.
    assert np.abs(frames[..., 2].mean((1, 2)) - wanted[..., 2].mean((1, 2))).max() < 5


def test_every_second_frame_of_the_video_stands_alone(root):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-skip_frame', 'nokey']
    command += ['-i', str(root / VIDEO), '-fps_mode', 'passthrough', '-f', 'rawvideo']
    raw = subprocess.run(
        [*command, '-pix_fmt', 'rgb24', '-'], capture_output=True, check=True
    ).stdout
    assert len(raw) == 6 * 32 * 48 * 3


def test_episodes_say_where_they_lie(root):
    found = pq.read_table(root / 'meta/episodes/chunk-000/file-000.parquet').to_pydict()
    assert found['episode_index'] == [0, 1, 2]
    assert found['length'] == list(LENGTHS)
    assert found['tasks'] == [[sentence] for sentence in SENTENCES]
    assert found['dataset_from_index'] == [0, 5, 8]
    assert found['dataset_to_index'] == [5, 8, 12]
    video = 'videos/observation.images.front'
    assert found[f'{video}/from_timestamp'] == pytest.approx([0.0, 0.25, 0.4])
    assert found[f'{video}/to_timestamp'] == pytest.approx([0.25, 0.4, 0.6])
    for place in (video, 'data', 'meta/episodes'):
        assert found[f'{place}/chunk_index'] == found[f'{place}/file_index'] == [0, 0, 0]


def test_tasks_are_an_index_of_sentences_for_pandas(root):
    table = pq.read_table(root / 'meta/tasks.parquet')
    assert table.to_pydict() == {
        'task_index': [0, 1],
        'task': ['open the drawer', 'press the button'],
    }
    assert json.loads(table.schema.metadata[b'pandas'])['index_columns'] == ['task']


def test_the_description_counts_and_names(info):
    assert info['codebase_version'] == 'v3.0'
    assert (info['fps'], info['robot_type'], info['splits']) == (20, 'sawyer', {'train': '0:3'})
    assert (info['total_episodes'], info['total_frames'], info['total_tasks']) == (3, 12, 2)
    features = info['features']
    assert features['action'] == {'dtype': 'float32', 'shape': [2], 'names': ['dx', 'dy']}
    assert features['observation.state']['names'] == ['x', 'y', 'grip']
    camera = features['observation.images.front']
    assert (camera['dtype'], camera['shape']) == ('video', [32, 48, 3])
    assert (camera['info']['video.fps'], camera['info']['video.codec']) == (20, 'h264')
    assert info['data_path'].format(chunk_index=0, file_index=0) == (
        'data/chunk-000/file-000.parquet'
    )
    assert info['video_path'].format(
        video_key='observation.images.front', chunk_index=0, file_index=0
    ) == (VIDEO)


def test_mean_and_deviation_are_those_of_all_frames(root):
    found = json.loads((root / 'meta/stats.json').read_text())
    values = np.concatenate([one[1] for one in EPISODES]).astype(float)
    state = found['observation.state']
    assert state['mean'] == pytest.approx(values.mean(0), abs=1e-6)
    assert state['std'] == pytest.approx(values.std(0), abs=1e-6)
    assert state['min'] == pytest.approx(values.min(0))
    assert state['max'] == pytest.approx(values.max(0))
    assert state['count'] == [12]
    pixels = np.concatenate([one[0]['front'] for one in EPISODES]).reshape(-1, 3) / 255
    seen = found['observation.images.front']
    assert np.shape(seen['mean']) == (3, 1, 1)
    assert np.ravel(seen['mean']) == pytest.approx(pixels.mean(0), abs=1e-6)
    # LeRobot adds up squares of pixels as float32.
    assert np.ravel(seen['std']) == pytest.approx(pixels.std(0), abs=1e-4)


def test_a_folder_that_holds_a_dataset_is_left_alone(root):
    before = (root / 'meta/info.json').read_bytes()
    with pytest.raises(UsageError, match='holds a dataset already'):
        DatasetWriter(root, LAYOUT)
    assert (root / 'meta/info.json').read_bytes() == before


def interrupted(folder):
    with DatasetWriter(folder, LAYOUT) as writer:
        writer.add_episode(*EPISODES[0], SENTENCES[0])
        raise KeyboardInterrupt


def test_an_interruption_leaves_no_finished_dataset(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path)
    assert not (tmp_path / 'meta/info.json').exists()


def test_two_runs_cannot_write_one_dataset(tmp_path):
    first = DatasetWriter(tmp_path, LAYOUT)
    with pytest.raises(UsageError, match='another run is writing into'):
        DatasetWriter(tmp_path, LAYOUT)
    with pytest.raises(UsageError, match='no episode'), first:
        pass
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path)


def test_nothing_recorded_is_no_dataset(tmp_path):
    with pytest.raises(UsageError, match='no episode'), DatasetWriter(tmp_path, LAYOUT):
        pass


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda e: (e[0], e[1][:, :2], e[2]), r'state is float32 \[5, 2\]; .* \[5, 3\]'),
        (lambda e: (e[0], e[1], e[2][:4]), r'action is float32 \[4, 2\]'),
        (lambda e: (e[0], e[1].astype(float), e[2]), r'state is float64'),
        (lambda e: (e[0], e[1], e[2] * np.nan), 'action holds a number that is not finite'),
        (lambda e: ({'front': e[0]['front'][:, :30]}, *e[1:]), r'front is uint8 \[5, 30, 48, 3\]'),
        (lambda e: ({}, *e[1:]), 'front is float64'),
        (lambda e: ({'front': e[0]['front'][:0]}, e[1][:0], e[2][:0]), 'at least one frame'),
    ],
)
def test_an_episode_of_another_shape_is_refused(tmp_path, change, message):
    writer = DatasetWriter(tmp_path, LAYOUT)
    with pytest.raises(UsageError, match=message):
        writer.add_episode(*change(EPISODES[0]), 'go')


@pytest.mark.parametrize(
    ('layout', 'message'),
    [
        (DatasetLayout(0, {}, ('x',), ('x',), 'arm'), '0 frames a second'),
        (DatasetLayout(12.5, {}, ('x',), ('x',), 'arm'), '12.5 frames a second'),  # type: ignore[arg-type]
        (DatasetLayout(10, {'top': (31, 32)}, ('x',), ('x',), 'arm'), '31 x 32 pixels'),
    ],
)
def test_a_layout_that_no_dataset_can_have_is_refused(tmp_path, layout, message):
    with pytest.raises(UsageError, match=message):
        DatasetWriter(tmp_path, layout)
