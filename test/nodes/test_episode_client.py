# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a client does with a task that ends as it begins."""

import threading
from types import SimpleNamespace

import pytest

from efficient_vla.action import ExecuteTask
from efficient_vla.nodes.client import episode_client
from efficient_vla.nodes.client.episode_client import EpisodeClient

RESULT = ExecuteTask.Result
LEAPT = RESULT(reason=RESULT.REASON_FAULT, message='robot_state leapt')
BROKE = RESULT(reason=RESULT.REASON_FAULT, message='a camera broke', duration_s=2.5)
DONE = RESULT(reason=RESULT.REASON_SUCCEEDED, duration_s=1.0)


def executed(monkeypatch: pytest.MonkeyPatch, *results: RESULT) -> tuple[RESULT, int]:
    """Return what a task ends with whose attempts end with ``results``, and how many were made."""
    clock, left = SimpleNamespace(now=0.0), list(results)

    def attempt(goal: ExecuteTask.Goal) -> RESULT:
        clock.now += 0.5
        return left.pop(0)

    monkeypatch.setattr(episode_client, 'time', SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(episode_client, 'POLL_S', 0.0)
    client = EpisodeClient.__new__(EpisodeClient)
    client._pause = threading.Event()
    monkeypatch.setattr(client, '_attempt', attempt)
    return client._execute('touch the ball', 20.0), len(results) - len(left)


def test_a_robot_that_leapt_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert executed(monkeypatch, LEAPT, LEAPT, DONE) == (DONE, 3)


def test_a_fault_that_stays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert executed(monkeypatch, *[LEAPT] * 20) == (LEAPT, 6)


def test_what_breaks_in_motion_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert executed(monkeypatch, BROKE, DONE) == (BROKE, 1)
