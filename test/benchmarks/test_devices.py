# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Parity and time of the stages on a device, with the processor in its place."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import devices
from efficient_vla.policy import Policy

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def command(passthrough, tmp_path, monkeypatch):
    """Return what runs the command, and its file."""
    target = tmp_path / 'runs' / 'devices.json'
    words = ['devices', '--device', 'cpu', '--passes', '2', '--policy', str(passthrough)]
    monkeypatch.setattr('sys.argv', [*words, '--out', str(target)])
    monkeypatch.setattr(devices, 'CONFIGURATIONS', {'dense': {}})
    return devices.main, target


def test_every_configuration_is_accepted_by_the_policy():
    for name, keywords in devices.CONFIGURATIONS.items():
        row = devices.measure(None, 'cpu', keywords, 2)
        assert row['difference'] < 1e-5, name
        assert min(row['perception_ms'], row['reasoner_ms'], row['actor_ms']) > 0, name


def test_the_largest_difference_of_a_chunk_is_told(passthrough, monkeypatch):
    load, loaded = Policy.from_pretrained, []

    def second_is_off(*arguments, **keywords):
        policy = load(*arguments, **keywords)
        loaded.append(policy)
        if len(loaded) == 2:
            chunk, off = policy.actor.chunk, np.float32([[0.0, -0.5, 0.25, 0.0]])
            policy.actor.chunk = lambda plan, frame: dataclasses.replace(
                chunk(plan, frame), actions=chunk(plan, frame).actions + off
            )
        return policy

    monkeypatch.setattr(devices.Policy, 'from_pretrained', second_is_off)
    assert devices.measure(str(passthrough), 'cpu', {}, 2)['difference'] == pytest.approx(0.5)


def test_a_run_that_was_interrupted_goes_on_where_it_stopped(command, passthrough, monkeypatch):
    main, target = command
    main()
    first = json.loads(target.read_text())
    assert list(first) == [f'{passthrough}, cpu, dense']
    monkeypatch.setattr(
        devices, 'CONFIGURATIONS', {'dense': {}, 'single': {'architecture': 'single'}}
    )
    main()
    both = json.loads(target.read_text())
    assert list(both) == [f'{passthrough}, cpu, dense', f'{passthrough}, cpu, single']
    assert both[f'{passthrough}, cpu, dense'] == first[f'{passthrough}, cpu, dense']
