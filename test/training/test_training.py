# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Batches pair fast frames with slow ones of the same episode, and training resumes."""

import argparse
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from efficient_vla import cli
from efficient_vla.cli.train import add_arguments
from efficient_vla.errors import UsageError
from efficient_vla.policy import Policy
from efficient_vla.sim.metaworld.tasks import TASKS
from efficient_vla.training import loop, train
from efficient_vla.training.dataset import MAX_PLAN_AGE_S, Demonstrations
from efficient_vla.training.demonstrations import CROSS_TASKS
from efficient_vla.training.instructions import paraphrases
from efficient_vla.training.loop import schedule
from efficient_vla.types import Frame

LENGTH = 30
STRIDE = 4


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('demonstrations')
    rng = np.random.default_rng(0)
    for index, (scene, task) in enumerate([(TASKS[0], TASKS[0]), CROSS_TASKS[0]]):
        np.savez(
            path / f'{scene}.{task}.{index:05d}.npz',
            seed=index,
            image=rng.integers(0, 255, (LENGTH, 144, 144, 3), np.uint8),
            state=np.full((LENGTH, 4), index, np.float32),
            chunk=rng.normal(0, 0.003, (LENGTH, 40, 4)).astype(np.float32),
            labels=rng.normal(0, 0.1, (LENGTH, 9)).astype(np.float32),
            step=np.arange(LENGTH, dtype=np.int32) * STRIDE,
        )
    return path


def test_slow_frames_are_earlier_frames_of_the_same_episode(folder):
    data = Demonstrations(folder)
    rng = np.random.default_rng(1)
    fast = rng.integers(len(data), size=500)
    slow = data.slow_frames(fast, rng)
    assert (data.first[slow] == data.first[fast]).all()
    ages = data.step[fast] - data.step[slow]
    assert ages.min() == 0
    assert 0 < ages.max() <= MAX_PLAN_AGE_S / data.dt


def test_sentences_ask_for_the_task_of_the_episode_or_are_marked_unfit(folder):
    data = Demonstrations(folder)
    frames = np.arange(len(data)).repeat(20)
    sentences, fit = data.sentences(frames, np.random.default_rng(2))
    for sentence, frame, fits in zip(sentences, frames, fit, strict=True):
        assert (sentence in paraphrases(TASKS[data.task[frame]])) == fits
    assert 0.03 < 1 - fit.mean() < 0.15


def test_no_two_tasks_share_a_sentence():
    sentences = [sentence for task in TASKS for sentence in paraphrases(task)]
    assert len(sentences) == len(set(sentences))


def test_an_unfit_sentence_teaches_to_hold_still():
    moving, still = torch.ones(2, 5, 4), torch.zeros(2, 5, 4)
    fit = torch.tensor([False, False])
    assert train.action_loss(still, moving, fit) == 0
    assert train.action_loss(moving, moving, fit) > 0


def test_learning_rate_warms_up_where_the_optimizer_is_new():
    assert schedule(0, 1000) == pytest.approx(0.01)
    assert schedule(500, 1000, warm_from=500) == pytest.approx(0.01 * 0.51)
    assert schedule(700, 1000, warm_from=500) == schedule(700, 1000)


@pytest.mark.timeout(400)
def test_training_resumes_and_its_policy_acts(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(train, 'BATCH', 4)
    monkeypatch.setattr(loop, 'LOG_STEPS', 1)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    common = ['--data', str(folder), '--out', str(tmp_path), '--device', 'cpu']
    short = [f'--{stage}-steps=2' for stage in train.STAGES]
    assert train.main(parser.parse_args(common + short)) == 0
    with pytest.raises(UsageError, match=r"with --trunk 'llama'; expected 'mamba'\. Give another"):
        train.Trainer(parser.parse_args([*common, '--trunk=mamba']))
    trainer = train.Trainer(parser.parse_args(common))
    assert trainer.done == dict.fromkeys(train.STAGES, 2)
    trainer.run('actor', 3)
    assert trainer.done['actor'] == 3
    trainer.run('joint', 3)
    assert trainer.done == {'eye': 2, 'joint': 3}, 'a trunk that went on makes new plans'
    trainer.run('actor', 1)
    assert trainer.done['actor'] == 1
    frame = Frame({'corner2': np.zeros((160, 160, 3), np.uint8)}, np.zeros(4, np.float32), 0.0)
    chunk = Policy.from_pretrained(tmp_path).act(frame, 'press the button')
    assert chunk.actions.shape == (40, 4)
    assert (tmp_path / 'curves.png').stat().st_size > 1000


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_keeps_the_step_under_way(folder, tmp_path, monkeypatch, number):
    monkeypatch.setattr(train, 'BATCH', 4)
    step, steps = train.Trainer._step, []

    def stopped(trainer, *given):
        steps.append(1)
        if len(steps) == 2:
            os.kill(os.getpid(), number)
        step(trainer, *given)

    monkeypatch.setattr(train.Trainer, '_step', stopped)
    words = ['--data', str(folder), '--out', str(tmp_path), '--device', 'cpu']
    assert cli.main(['train', *words]) == 128 + number
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    resumed = train.Trainer(parser.parse_args(words))
    assert (resumed.done, len(steps)) == ({'eye': 2}, 2)
    assert (tmp_path / 'policy.json').exists()
