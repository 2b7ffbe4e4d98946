# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What flows in the graph is recorded as a LeRobotDataset, in real processes."""

import json
import subprocess
from dataclasses import replace

import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest
from fixtures.policies import write_policy

from efficient_vla.bench.graph_dataset import record_graph
from efficient_vla.bench.graph_runner import GraphRequest
from efficient_vla.cli.display import console
from efficient_vla.cli.live import LiveObserver
from efficient_vla.errors import EpisodeError
from efficient_vla.training.lerobot_dataset import DatasetWriter
from efficient_vla.training.lerobot_demonstrations import layout

SPEED = 0.05
"""Metres a second along y."""
FPS, SIZE = 10, 64
JOBS = [('button-press-v3', 100_000), ('drawer-open-v3', 100_000)]


@pytest.fixture(scope='module')
def request_(tmp_path_factory, module_ros_domain):
    policy = write_policy(tmp_path_factory.mktemp('policy'), velocity=(0.0, SPEED, 0.0))
    camera = {'camera.size': SIZE, 'camera.rate': float(FPS), 'camera.render': 'fast'}
    return GraphRequest(policy, JOBS, {'metaworld_robot': camera}, episode_s=1.5)


@pytest.fixture(scope='module')
def root(tmp_path_factory, request_):
    folder = tmp_path_factory.mktemp('dataset')
    with (
        DatasetWriter(folder, layout('metaworld', FPS, SIZE)) as writer,
        LiveObserver(console, len(JOBS)) as observer,
    ):
        record_graph(request_, observer, writer, True, lambda _: None)
    return folder


def test_rows_are_the_motion_that_was_commanded(root):
    table = pq.read_table(root / 'data/chunk-000/file-000.parquet').to_pydict()
    action = np.array(table['action'])
    episode = np.array(table['episode_index'])
    assert sorted(set(episode)) == [0, 1]
    assert np.abs(action[:, [0, 2]]).max() < 1e-4
    # A graph that gets little of its machine moves the arm more slowly, and never faster.
    moving = np.median(action[action[:, 1] > 1e-4, 1])
    assert 0.2 * SPEED / FPS < moving < 1.2 * SPEED / FPS
    assert set(np.sign(action[:, 3])) <= {-1.0, 0.0}


def test_states_follow_what_was_commanded(root):
    table = pq.read_table(root / 'data/chunk-000/file-000.parquet').to_pydict()
    first = np.array(table['episode_index']) == 0
    state, action = np.array(table['observation.state'])[first], np.array(table['action'])[first]
    moved = state[-1, 1] - state[0, 1]
    assert moved == pytest.approx(action[:-1, 1].sum(), abs=0.02)
    assert moved > 0.02


def test_every_row_has_an_image_and_every_episode_its_sentence(root):
    info = json.loads((root / 'meta/info.json').read_text())
    assert (info['fps'], info['total_episodes'], info['robot_type']) == (FPS, 2, 'metaworld')
    video = root / 'videos/observation.images.corner2/chunk-000/file-000.mp4'
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-i', str(video)]
    raw = subprocess.run(
        [*command, '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'], capture_output=True, check=True
    ).stdout
    assert len(raw) == info['total_frames'] * SIZE * SIZE * 3
    tasks = pq.read_table(root / 'meta/tasks.parquet').to_pydict()
    assert tasks['task'] == ['press the button', 'open the drawer']


def test_where_nothing_succeeds_the_user_is_told(tmp_path, request_):
    writer = DatasetWriter(tmp_path, layout('metaworld', FPS, SIZE))
    refused = replace(request_, jobs=JOBS[:1])
    observer = LiveObserver(console, 1)
    with pytest.raises(EpisodeError, match='none of 1 episodes succeeded'):
        record_graph(refused, observer, writer, False, lambda _: None)
    assert not writer.episodes
