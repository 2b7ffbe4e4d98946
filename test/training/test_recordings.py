# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy of this package learns from a LeRobotDataset and drives the arm that it is of."""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from efficient_vla.cli.train import add_arguments
from efficient_vla.errors import UsageError
from efficient_vla.policy import Policy
from efficient_vla.training import train
from efficient_vla.training.lerobot_dataset import DatasetLayout, DatasetWriter
from efficient_vla.training.lerobot_reading import read_dataset, read_images
from efficient_vla.training.recordings import Recordings, demonstrations
from efficient_vla.types import Frame

NAMES = ('shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'jaw')
SENTENCES = ('touch the red ball', 'push the cube', 'touch the red ball')
LENGTHS = (12, 9, 15)
FPS = 25
DEGREES = np.array([10.0, -20.0, 30.0, 40.0, 0.0, 50.0], np.float32)
"""Of the joints, percent of the jaw."""
RADIANS = np.array([*np.radians(DEGREES[:5]), -0.17453 + 0.5 * (1.74533 + 0.17453)])


def states(length: int) -> np.ndarray:
    """Return joints that move evenly, a hundredth of ``DEGREES`` a frame."""
    return (1 + np.arange(length)[:, None] / 100) * DEGREES


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('recorded')
    layout = DatasetLayout(FPS, {'front': (64, 64)}, NAMES, NAMES, 'so101')
    with DatasetWriter(folder, layout) as writer:
        for number, (length, sentence) in enumerate(zip(LENGTHS, SENTENCES, strict=True)):
            shade = 60 * number + 4 * np.arange(length)[:, None, None, None]
            images = {'front': np.broadcast_to(shade, (length, 64, 64, 3)).astype(np.uint8)}
            state = states(length).astype(np.float32)
            action = states(length + 1)[1:].astype(np.float32)
            writer.add_episode(images, state, action, sentence)
    return folder


@pytest.fixture(scope='module')
def data(root: Path) -> Recordings:
    return Recordings(root, '', '', 48)


def test_states_and_rows_are_those_of_the_robot(data: Recordings) -> None:
    assert data.joints.action_names == NAMES
    assert data.state[0].numpy() == pytest.approx(RADIANS, abs=1e-5)
    assert data.units()['control_mode'] == 'JOINT_POSITION'
    assert data.units()['dt'] == 1 / FPS


def test_rows_are_counted_from_the_state_and_held_at_the_end(data: Recordings) -> None:
    chunk = data.chunk.numpy()
    step = RADIANS[:5] / 100
    assert chunk.shape[1:] == (20, 6)
    assert chunk[0, 0, :5] == pytest.approx(step, abs=1e-5)
    assert chunk[0, 3, :5] == pytest.approx(4 * step, abs=1e-5)
    last = LENGTHS[0] - 1
    assert chunk[last, :, :5] == pytest.approx(np.tile(step, (20, 1)), abs=1e-5)


def test_images_are_those_of_their_frames(root: Path) -> None:
    dataset = read_dataset(root)
    images = read_images(dataset, 3, 32)
    shades = [60 * e + 4 * t for e, length in enumerate(LENGTHS) for t in range(0, length, 3)]
    assert images.shape == (len(shades), 32, 32, 3)
    assert images.mean((1, 2, 3)) == pytest.approx(shades, abs=2.5)


def test_plans_come_from_the_same_episode(data: Recordings) -> None:
    frames = np.arange(len(data)).repeat(5)
    slow = data.slow_frames(frames, np.random.default_rng(0))
    assert (data.first[slow] == data.first[frames]).all()
    assert (slow <= frames).all()
    assert (slow < frames).any()


def test_auxiliary_targets_are_the_joints_now_and_at_the_end(data: Recordings) -> None:
    ends = [(1 + (LENGTHS[e] - 1) / 100) * RADIANS[0] for e in range(3)]
    labels = data.labels.numpy()
    assert np.array_equal(labels[:, :6], data.state.numpy())
    episode = np.searchsorted(np.unique(data.first), data.first)
    assert labels[:, 6] == pytest.approx(np.array(ends)[episode], abs=1e-4)


def test_sentences_are_those_of_the_episodes_or_nonsense(data: Recordings) -> None:
    frames = np.arange(len(data)).repeat(30)
    sentences, fit = data.sentences(frames, np.random.default_rng(2))
    second = data.first[frames] == LENGTHS[0]
    for sentence, is_second, fits in zip(sentences, second, fit, strict=True):
        assert sentence.endswith(SENTENCES[int(is_second)]) == fits
    assert 0.03 < 1 - fit.mean() < 0.15


def test_what_is_no_dataset_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--camera is 'wrist' .* front"):
        read_dataset(root, 'wrist')
    with pytest.raises(UsageError, match='are for a LeRobotDataset'):
        demonstrations(tmp_path, 'so101')
    with pytest.raises(UsageError, match=r'--robot ur5e: joints.names has 7 names'):
        Recordings(root, 'ur5e', '', 48)
    old = shutil.copytree(root, tmp_path / 'old')
    info = json.loads((old / 'meta/info.json').read_text())
    (old / 'meta/info.json').write_text(json.dumps(info | {'codebase_version': 'v2.1'}))
    with pytest.raises(UsageError, match=r'version v2\.1; expected v3'):
        read_dataset(old)
    (old / 'meta/info.json').write_text('{}')
    with pytest.raises(UsageError, match='cannot be read'):
        read_dataset(old)
    short = shutil.copytree(root, tmp_path / 'short')
    shutil.rmtree(short / 'videos')
    with pytest.raises(UsageError, match='missing'):
        read_images(read_dataset(short), 1, 32)


@pytest.mark.timeout(400)
def test_a_policy_of_a_dataset_acts_in_the_units_of_the_robot(root: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = f'--data {root} --out {tmp_path / "so101-tiny"} --device cpu --precision fp32 --batch 4'
    sizes = '--width 32 --layers 1 --image-size 48 --eye-steps 1 --joint-steps 1 --actor-steps 1'
    assert train.main(parser.parse_args([*words.split(), *sizes.split()])) == 0
    frame = Frame({'front': np.zeros((64, 64, 3), np.uint8)}, RADIANS.astype(np.float32), 0.0)
    for architecture in ('single', 'dual'):
        policy = Policy.from_pretrained(tmp_path / 'so101-tiny', architecture=architecture)
        chunk = policy.act(frame, 'touch the red ball')
        assert chunk.names == NAMES
        assert chunk.control_mode.name == 'JOINT_POSITION'
        assert chunk.actions.shape == (20, 6)
        # One step teaches nothing: rows stay within what the columns mostly move by.
        assert np.abs(chunk.actions - RADIANS).max() < 0.3
        assert chunk.dt == 1 / FPS
