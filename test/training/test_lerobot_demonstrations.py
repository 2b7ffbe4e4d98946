# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Demonstrations of `efficient-vla data --format lerobot`: executed rows, and clear refusals."""

import numpy as np
import pytest

from efficient_vla.cli import main
from efficient_vla.sim.metaworld.scene import MetaWorldSim
from efficient_vla.training.demonstrations import TRAIN_SEED
from efficient_vla.training.lerobot_demonstrations import AFTERWARDS, record

TASK = 'button-press-v3'
UNDISTURBED = TRAIN_SEED + 4
"""A seed whose episode begins where the arm is reset to."""


@pytest.fixture(scope='module')
def sims():
    made: dict = {}
    yield made
    for sim in made.values():
        sim.close()


@pytest.fixture(scope='module')
def episodes(sims):
    found = {
        seed: record('metaworld', TASK, seed, 0.6, 32, 'fast', sims)
        for seed in (UNDISTURBED, TRAIN_SEED + 1)
    }
    return {seed: episode for seed, episode in found.items() if episode is not None}


def test_images_states_and_rows_are_as_many(episodes):
    for episode in episodes.values():
        length = len(episode['state'])
        assert episode['image'].shape == (length, 32, 32, 3)
        assert episode['action'].shape == episode['state'].shape == (length, 4)


def test_the_rows_alone_drive_the_arm_to_success(episodes):
    sim = MetaWorldSim(TASK, 'fast', 32)
    sim.reset(UNDISTURBED)
    episode = episodes[UNDISTURBED]
    assert np.array_equal(sim.state(), episode['state'][0])
    for row in episode['action']:
        sim.step(np.append(sim.setpoint() + row[:3], row[3]))
    assert sim.success
    # The last rows were recorded after success.
    sim.reset(UNDISTURBED)
    for row in episode['action'][: 1 - AFTERWARDS]:
        sim.step(np.append(sim.setpoint() + row[:3], row[3]))
    assert sim.success
    sim.close()


def test_episodes_begin_where_the_arm_was_led_astray(episodes):
    starts = [episode['state'][0] for episode in episodes.values()]
    assert np.abs(starts[0] - starts[1])[:3].max() > 0.02


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--policy', 'x'], '--policy belongs to --format npz and --format lerobot --graph'),
        (['--graph', '--speed', '0.5'], '--speed belongs to --format npz and'),
        (['--graph', '--fps', '0'], '--fps is 0; expected at least 1'),
        (['--fps', '20'], '--fps belongs to --format lerobot --graph'),
        (['--keep-failed'], '--keep-failed belongs to'),
        (['--cross', '3'], '--cross belongs to --format npz'),
        (['--image-size', '8'], '--image-size is 8; expected at least 16'),
        (['--image-size', '33'], 'even numbers'),
        (['--episodes', '0'], '--episodes is 0; expected at least 1'),
        (['--speed', '0'], '--speed is 0.0; expected above 0'),
        (['--tasks', 'juggle-v3'], "unknown task 'juggle-v3'"),
    ],
)
def test_options_that_make_no_dataset_are_refused(tmp_path, capsys, words, message):
    out = tmp_path / 'set'
    assert main(['data', '--format', 'lerobot', '--out', str(out), *words]) == 2
    assert message in ' '.join(capsys.readouterr().err.split())


def test_options_of_the_dataset_belong_to_its_format(tmp_path, capsys):
    assert main(['data', '--image-size', '96', '--out', str(tmp_path)]) == 2
    assert '--image-size belongs to --format lerobot' in ' '.join(capsys.readouterr().err.split())
    assert main(['data', '--graph', '--out', str(tmp_path)]) == 2
    assert 'add --format lerobot' in ' '.join(capsys.readouterr().err.split())
