# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""An arm in joint space is driven through the graph in real processes, and recorded."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from fixtures.policies import reaching_arm

from efficient_vla.bench.graph_dataset import record_graph
from efficient_vla.bench.graph_runner import GraphRequest
from efficient_vla.cli.display import console
from efficient_vla.cli.live import LiveObserver
from efficient_vla.training.lerobot_dataset import DatasetWriter
from efficient_vla.training.lerobot_demonstrations import layout

SEED, FPS, SIZE = 1001, 5, 64
JOBS = [('reach', SEED)]


@pytest.fixture(scope='module')
def recorded(tmp_path_factory, module_ros_domain):
    folder = tmp_path_factory.mktemp('arm')
    policy = reaching_arm('so101', SEED, folder / 'policy')
    camera = {
        'camera.size': SIZE,
        'camera.rate': float(FPS),
        'camera.render': 'fast',
        'mode': 'lockstep',
    }
    request = GraphRequest(policy, JOBS, {'so101_robot': camera}, robot='so101', episode_s=120.0)
    with (
        DatasetWriter(folder / 'set', layout('so101', FPS, SIZE)) as writer,
        LiveObserver(console, len(JOBS)) as observer,
    ):
        found = record_graph(request, observer, writer, True, lambda _: None)
    return found, folder / 'set'


def test_a_policy_of_joints_touches_the_ball(recorded):
    (episode,) = recorded[0]['episodes']
    assert episode['success'], episode
    assert episode['instruction'].startswith('touch the ')


def test_rows_are_where_the_joints_go_in_degrees_and_percent(recorded):
    root = recorded[1]
    info = json.loads((root / 'meta/info.json').read_text())
    assert info['robot_type'] == 'so101'
    assert info['features']['action']['names'][-1] == 'jaw'
    table = pq.read_table(root / 'data/chunk-000/file-000.parquet').to_pydict()
    state, action = np.array(table['observation.state']), np.array(table['action'])
    # Where an episode begins, within 0.05 rad, and the jaw at 0.5 of -0.17 to 1.75 rad. On a busy
    # machine the arm has moved for some tenths of a second before the first image of it comes.
    home = np.array([0.0, -68.8, 45.8, 74.5, 0.0])
    assert np.abs(state[0, :5] - home).max() < 15.0
    assert state[0, 5] == pytest.approx(35.1, abs=4.0)
    assert np.abs(action - state).max() < 6.0, 'servos follow what is commanded'
