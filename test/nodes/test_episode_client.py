# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a client does with a task that ends as it begins, and with a stop of before."""

import threading
from types import SimpleNamespace

import pytest
from rclpy.task import Future

from efficient_vla.action import ExecuteTask
from efficient_vla.errors import EpisodeError
from efficient_vla.nodes.base.onlooker import Onlooker
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


@pytest.mark.usefixtures('ros_domain')
def test_an_action_is_asked_on_the_thread_that_listens() -> None:
    threads = []

    def told(result: object) -> Future:
        threads.append(threading.current_thread().name)
        future = Future()
        future.set_result(result)
        return future

    client = EpisodeClient.__new__(EpisodeClient)
    handle = SimpleNamespace(
        accepted=True, get_result_async=lambda: told(SimpleNamespace(result=DONE))
    )
    client._task = SimpleNamespace(send_goal_async=lambda goal: told(handle))
    client._check = lambda: None
    client.listener = Onlooker('listening', '')
    client.listener.start()
    try:
        assert client._attempt(ExecuteTask.Goal()) is DONE
    finally:
        client.listener.close()
    assert threads == ['listening', 'listening']


class Answer:
    """A future whose answer is there."""

    def __init__(self, **fields: object) -> None:
        self.result = lambda: SimpleNamespace(**fields)


def latched(monkeypatch: pytest.MonkeyPatch) -> tuple[EpisodeClient, SimpleNamespace]:
    """Return a client of a controller that an earlier run left stopped, and that controller."""
    clock = SimpleNamespace(now=0.0)

    def monotonic() -> float:
        clock.now += 0.1
        return clock.now

    monkeypatch.setattr(episode_client, 'time', SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(episode_client, 'POLL_S', 0.0)
    controller = SimpleNamespace(state='stopped', enabled=0)

    def enable(request: object) -> Answer:
        if controller.state == 'stopped':
            return Answer(success=False, message='the controller is stopped; call reset_stop')
        controller.enabled += 1
        return Answer(success=True, message='enabled')

    def reset(request: object) -> Answer:
        controller.state = 'disabled'
        return Answer(success=True)

    client = EpisodeClient.__new__(EpisodeClient)
    client._pause = threading.Event()
    client._enable = SimpleNamespace(call_async=enable, remove_pending_request=lambda future: None)
    client._reset_stop = SimpleNamespace(call_async=reset)
    client.listener = SimpleNamespace(view=lambda: controller)
    monkeypatch.setattr(client, '_done', lambda future, timeout: True)
    return client, controller


def test_a_stop_of_an_earlier_run_does_not_keep_the_next_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, controller = latched(monkeypatch)
    client._await_controller(released=True)
    assert controller.enabled == 1


def test_what_the_controller_said_is_told_where_it_never_gets_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, controller = latched(monkeypatch)
    with pytest.raises(EpisodeError, match='within 60 s: the controller is stopped; call reset'):
        client._await_controller()
    assert controller.state == 'stopped', 'a stop in an episode is its own end'


def test_nodes_that_never_get_ready_are_named_without_what_they_would_offer() -> None:
    client = EpisodeClient.__new__(EpisodeClient)
    service = SimpleNamespace(srv_name='reset', service_is_ready=lambda: False)
    client._enable = client._reset_episode = service
    client._reset_caches = []
    client._check = lambda: None
    client._pause = threading.Event()
    client.listener = SimpleNamespace(missing=lambda: ['nobody publishes plans'])
    states = {'actor': '-', 'reasoner': 'unconfigured', 'monitor': 'active'}
    watch = SimpleNamespace(states=lambda: states)
    with pytest.raises(EpisodeError) as refused:
        client._wait_active(watch, 0.0, lambda states: None)
    told = str(refused.value)
    assert 'after 0 s: actor does not answer, reasoner is unconfigured. A busy machine' in told
    assert 'nobody' not in told
    states = {'actor': 'active'}
    with pytest.raises(EpisodeError, match='nobody offers reset, nobody offers reset, nobody pub'):
        client._wait_active(watch, 0.0, lambda states: None)
