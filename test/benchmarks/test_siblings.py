# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Siblings are trained alike but for the trunk, and measured beside the first of them."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.progress import Progress
from safetensors.numpy import save_file

from benchmarks import siblings
from benchmarks.job import Job, Sizes
from efficient_vla.bench.rows import Rows
from efficient_vla.cli import train
from efficient_vla.training.trunks import TRUNKS

WON = {'llama': [True, True, False], 'mamba': [True, False, False]}
TIMES = {'llama': [2.0, 4.0], 'mamba': [6.0, 12.0]}


def options(words, tmp_path):
    given = ['--out', str(tmp_path / 'out.json'), '--work', str(tmp_path), *words]
    made = siblings.parser().parse_args(given)
    made.data = tmp_path / 'data'
    return made


def test_nothing_but_the_trunk_differs_between_trainings(tmp_path):
    args = options(['--width', '64', '--joint-steps', '7'], tmp_path)
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    read = {name: parser.parse_args(siblings.training(name, args)[1:]) for name in TRUNKS}
    for name, given in read.items():
        train.refuse_unused(given)
        assert (given.trunk, given.out) == (name, tmp_path / name)
        own = {key: value for key, value in vars(given).items() if key not in ('trunk', 'out')}
        assert own == {k: v for k, v in vars(read['llama']).items() if k not in ('trunk', 'out')}
        assert (given.width, given.joint_steps, given.actor_steps) == (64, 7, 0)


def test_rows_are_paired_with_the_first_and_measured_once(tmp_path, monkeypatch):
    played: list[str] = []

    def worker(request):
        name = request.policy.name
        played.append(name)
        return nullcontext(
            SimpleNamespace(run=lambda task, seed: SimpleNamespace(success=WON[name][seed - 1000]))
        )

    monkeypatch.setattr(siblings, 'Worker', worker)
    monkeypatch.setattr(siblings, 'closing', lambda opened: opened)
    monkeypatch.setattr(siblings, 'cpu_times', lambda policies, scenes: TIMES)
    monkeypatch.setattr(
        siblings,
        'load',
        lambda policy, words: SimpleNamespace(reasoner=SimpleNamespace(parameters_mb=1.0)),
    )
    monkeypatch.setattr(siblings, 'parameters', lambda folder: 2_000_000)
    monkeypatch.setattr(siblings, 'measure_memory', lambda *given: {'resident_mb': 90.0})
    monkeypatch.setattr(siblings, 'last_loss', lambda curve: 0.25)
    monkeypatch.setattr(Job, 'scenes', [])
    monkeypatch.setattr(Job, 'checkpoint', 'abc')
    sizes = Sizes(tasks=('reach-v3',), episodes=3)
    jobs = {name: Job(tmp_path / name, sizes) for name in WON}
    for _ in range(2):
        rows = Rows(tmp_path / 'rows.json', {}, resume=True)
        siblings.measure(jobs, rows, Progress(disable=True))
    assert played == ['llama', 'mamba']
    first, other = rows.of('siblings')
    assert (first['success_rate'], other['success_rate']) == pytest.approx((2 / 3, 1 / 3))
    assert (other['only_llama'], other['only_this'], other['p_value']) == (1, 0, 1.0)
    assert (other['times_first'], other['cpu_p50_ms']) == (pytest.approx(3.0), np.median([6, 12]))
    line = siblings.table(rows.of('siblings')).splitlines()[3]
    assert line.startswith('| `mamba` | 2.00 | 1/3 | 6 to 79 % | 1 | 9.0 | 3.00 | 1.0 | 90 |')


def test_the_last_loss_is_that_of_the_last_step(tmp_path: Path):
    curve = tmp_path / 'curves.csv'
    curve.write_text(
        'stage,step,loss,value,seconds\n'
        'joint,20,single,0.8,1\njoint,40,single,0.5,2\njoint,40,dual,0.9,2\n'
    )
    assert siblings.last_loss(curve) == 0.5


def test_the_state_of_a_training_is_no_part_of_the_policy(tmp_path: Path):
    save_file({'a': np.zeros((3, 4), np.float16)}, tmp_path / 'model.safetensors')
    save_file({'b': np.zeros(100, np.float32)}, tmp_path / 'training.safetensors')
    assert siblings.parameters(tmp_path) == 12
