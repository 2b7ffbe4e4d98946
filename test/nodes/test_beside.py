# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Work beside the control loop: the newest alone waits, and neither errors nor hangs are silent."""

import threading

import pytest

from efficient_vla.nodes.controller import beside as beside_module
from efficient_vla.nodes.controller.beside import Beside


@pytest.fixture
def told():
    return []


@pytest.fixture
def beside(told):
    made = Beside(
        lambda rule, error: told.append((rule, str(error))),
        lambda rule: told.append((rule, 'well')),
        lambda: False,
    )
    yield made
    made.close()


@pytest.fixture
def hung(beside):
    """Work that runs until the event is set."""
    began, go_on = threading.Event(), threading.Event()

    def work():
        began.set()
        go_on.wait(40)

    beside.do('long', work)
    assert began.wait(40)
    yield go_on
    go_on.set()


def test_work_is_done_on_another_thread(beside):
    done = []
    beside.do('a', lambda: done.append(threading.current_thread().name))
    assert not beside.finish()
    assert done == ['beside']


def test_of_what_waits_the_newest_of_each_kind_is_done(beside, hung):
    done = []
    for number in range(50):
        beside.do('a', lambda number=number: done.append(('a', number)))
        beside.do('b', lambda number=number: done.append(('b', number)))
    assert beside._wakes.qsize() == 1
    hung.set()
    beside.finish()
    assert sorted(done) == [('a', 49), ('b', 49)]


def test_work_that_hangs_is_told_of_until_it_is_over(beside, hung, monkeypatch):
    assert beside.late() is None
    monkeypatch.setattr(beside_module, 'LONG_S', 0.0)
    assert 'longer than' in beside.late()
    monkeypatch.setattr(beside_module, 'CLOSE_TIMEOUT_S', 0.0)
    assert beside.finish()
    monkeypatch.undo()
    hung.set()
    assert not beside.finish()
    monkeypatch.setattr(beside_module, 'LONG_S', 0.0)
    assert beside.late() is None


def test_an_error_is_told_and_the_next_work_that_succeeds_ends_it(beside, told):
    beside.do('a', lambda: 1 / 0)
    beside.finish()
    assert told == [('beside', 'division by zero')]
    beside.do('a', lambda: None)
    beside.finish()
    assert told[1:] == [('beside', 'well')]


def test_a_thread_that_ended_is_told_of(monkeypatch):
    monkeypatch.setattr(threading, 'excepthook', lambda _: None)

    def fail(rule, error):
        raise error

    beside = Beside(fail, lambda _: None, lambda: False)
    beside.do('a', lambda: 1 / 0)
    beside._thread.join(40)
    assert 'ended' in beside.late()


def test_in_lockstep_the_caller_does_the_work_itself():
    beside = Beside(lambda *_: None, lambda _: None, lambda: True)
    threads = []
    beside.do('a', lambda: threads.append(threading.current_thread()))
    beside.close()
    assert threads == [threading.current_thread()]


def test_what_was_given_before_the_end_is_done():
    beside = Beside(lambda *_: None, lambda _: None, lambda: False)
    done = []
    beside.do('a', lambda: done.append(1))
    beside.close()
    assert done == [1]
