# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference runs beside the executor; the newest input wins."""

import threading

import pytest

from efficient_vla.worker import LatestWorker

TIMEOUT = 5.0


class Recorder:
    """Work that stops at each job until the test lets it go."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.errors: list[Exception] = []
        self.started = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.worker: LatestWorker[object] = LatestWorker('test', self.work, self.errors.append)

    def work(self, job: object) -> None:
        self.started.release()
        assert self.gate.acquire(timeout=TIMEOUT)
        if isinstance(job, Exception):
            raise job
        self.done.append(job)


@pytest.fixture
def recorder():
    recorder = Recorder()
    yield recorder
    for _ in range(10):
        recorder.gate.release()
    assert recorder.worker.stop(TIMEOUT)


def test_newest_job_replaces_the_one_that_waits(recorder: Recorder):
    recorder.worker.submit(1)
    assert recorder.started.acquire(timeout=TIMEOUT)
    for job in (2, 3, 4):
        recorder.worker.submit(job)
    for _ in range(2):
        recorder.gate.release()
    assert recorder.worker.wait_idle(TIMEOUT)
    assert recorder.done == [1, 4]
    assert recorder.worker.dropped == 2


def test_error_is_handed_over_and_the_next_job_runs(recorder: Recorder):
    error = RuntimeError('broken')
    recorder.gate.release()
    recorder.worker.submit(error)
    assert recorder.worker.wait_idle(TIMEOUT)
    recorder.gate.release()
    recorder.worker.submit(1)
    assert recorder.worker.wait_idle(TIMEOUT)
    assert recorder.errors == [error]
    assert recorder.done == [1]


def test_calls_run_in_order_before_the_waiting_job(recorder: Recorder):
    recorder.worker.submit(1)
    assert recorder.started.acquire(timeout=TIMEOUT)
    recorder.worker.submit(2)
    recorder.worker.call(lambda: recorder.done.append('a'))
    recorder.worker.call(lambda: recorder.done.append('b'))
    for _ in range(2):
        recorder.gate.release()
    assert recorder.worker.wait_idle(TIMEOUT)
    assert recorder.done == [1, 'a', 'b', 2]


def test_discarded_job_does_not_run(recorder: Recorder):
    recorder.worker.submit(1)
    assert recorder.started.acquire(timeout=TIMEOUT)
    recorder.worker.submit(2)
    recorder.worker.discard()
    recorder.gate.release()
    assert recorder.worker.wait_idle(TIMEOUT)
    assert recorder.done == [1]
    assert recorder.worker.idle


def test_stop_reports_a_pass_that_does_not_end(recorder: Recorder):
    recorder.worker.submit(1)
    assert recorder.started.acquire(timeout=TIMEOUT)
    assert not recorder.worker.stop(0.01)
    recorder.gate.release()
    assert recorder.worker.stop(TIMEOUT)


def test_asked_function_runs_between_two_jobs_and_its_end_is_awaited(recorder: Recorder):
    recorder.worker.submit(1)
    assert recorder.started.acquire(timeout=TIMEOUT)
    recorder.worker.submit(2)
    for _ in range(2):
        recorder.gate.release()
    recorder.worker.ask(lambda: recorder.done.append('asked'), TIMEOUT)
    assert recorder.done[:2] == [1, 'asked']


def test_error_of_an_asked_function_goes_to_who_asked(recorder: Recorder):
    with pytest.raises(ZeroDivisionError):
        recorder.worker.ask(lambda: 1 / 0, TIMEOUT)
    assert recorder.errors == []


def test_question_to_a_busy_worker_is_withdrawn_in_time(recorder: Recorder):
    recorder.worker.submit(1)
    assert recorder.started.acquire(timeout=TIMEOUT)
    with pytest.raises(TimeoutError, match=r'test was busy for more than 0\.01 s'):
        recorder.worker.ask(lambda: recorder.done.append('late'), 0.01)
    recorder.gate.release()
    assert recorder.worker.wait_idle(TIMEOUT)
    assert recorder.done == [1]


def test_functions_that_wait_are_called_before_the_thread_ends(recorder: Recorder):
    recorder.worker.submit(1)
    assert recorder.started.acquire(timeout=TIMEOUT)
    recorder.worker.call(lambda: recorder.done.append('called'))
    recorder.worker.submit(2)
    recorder.gate.release()
    assert recorder.worker.stop(TIMEOUT)
    assert recorder.done == [1, 'called']


def test_question_whose_answer_hangs_is_given_up_in_time(recorder: Recorder):
    begun, go = threading.Event(), threading.Event()

    def hang():
        begun.set()
        assert go.wait(TIMEOUT)

    try:
        with pytest.raises(TimeoutError, match=r'test was at it for more than 0\.5 s'):
            recorder.worker.ask(hang, 0.5)
        assert begun.is_set()
    finally:
        go.set()
    assert recorder.worker.wait_idle(TIMEOUT)


def test_time_of_the_job_or_function_that_runs_is_known(recorder: Recorder):
    assert recorder.worker.busy_s == 0
    begun, go = threading.Event(), threading.Event()

    def call():
        begun.set()
        assert go.wait(TIMEOUT)

    recorder.worker.call(call)
    assert begun.wait(TIMEOUT)
    first = recorder.worker.busy_s
    assert 0 < first <= recorder.worker.busy_s
    assert not recorder.worker.in_pass
    go.set()
    recorder.worker.submit(1)
    assert recorder.started.acquire(timeout=TIMEOUT)
    first = recorder.worker.busy_s
    assert 0 < first <= recorder.worker.busy_s
    assert recorder.worker.in_pass
    recorder.gate.release()
    assert recorder.worker.wait_idle(TIMEOUT)
    assert recorder.worker.busy_s == 0
