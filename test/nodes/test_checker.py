# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunks are checked in a process that lives and dies with the controller."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from control.kinematics import arms
from control.kinematics.test_wire import ARM, CHUNK, RANGES

from efficient_vla.control.kinematics.wire import CheckFailedError
from efficient_vla.nodes.controller import checker, elsewhere, examiner
from efficient_vla.nodes.controller.elsewhere import CheckedElsewhere
from efficient_vla.nodes.controller.examiner import Examiner

LONG_S = 60.0


@pytest.fixture
def model() -> Iterator[CheckedElsewhere]:
    found = CheckedElsewhere(ARM, ARM.model(), nice=os.getpriority(os.PRIO_PROCESS, 0) + 1)
    found.start()
    yield found
    found.close()


def test_the_process_finds_what_the_model_finds_until_it_ends(
    model: CheckedElsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ARM.model().check(CHUNK, arms.UR5E_HOME, RANGES)
    assert model.check(CHUNK, arms.UR5E_HOME, RANGES).finding == expected.finding
    process = model.process
    assert process is not None
    assert os.sched_getscheduler(process.pid) == os.SCHED_OTHER
    nice = os.getpriority(os.PRIO_PROCESS, process.pid)
    assert nice == os.getpriority(os.PRIO_PROCESS, 0) + 1

    monkeypatch.setattr(elsewhere, 'AGAIN_S', 0.0)
    process.kill()
    process.wait(LONG_S)
    assert model.check(CHUNK, arms.UR5E_HOME, RANGES).finding == expected.finding
    assert model.process is not None
    assert model.process.pid != process.pid

    # A process that hangs is not waited for.
    monkeypatch.setattr(elsewhere, 'PATIENCE_S', 0.01)
    hanging = model.process
    hanging.send_signal(signal.SIGSTOP)
    with pytest.raises(CheckFailedError, match=r'did not answer within 0\.01 s'):
        model.check(CHUNK, arms.UR5E_HOME, RANGES)
    assert hanging.poll() == -signal.SIGKILL
    assert model.process.pid != hanging.pid


def test_one_that_ends_at_once_is_not_started_over_and_over(model: CheckedElsewhere) -> None:
    first = model.process
    assert first is not None
    first.kill()
    first.wait(LONG_S)
    with pytest.raises(CheckFailedError, match='is gone: ended by SIGKILL'):
        model.check(CHUNK, arms.UR5E_HOME, RANGES)
    assert model.process is first


def test_one_that_never_reads_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def stopped(*words: Any, **more: Any) -> 'subprocess.Popen[bytes]':
        process = start(*words, **more)
        process.send_signal(signal.SIGSTOP)
        return process

    monkeypatch.setattr(subprocess, 'Popen', stopped)
    monkeypatch.setattr(elsewhere, 'START_S', 0.05)
    long = replace(ARM, text=ARM.text + ' ' * 4_000_000)
    model = CheckedElsewhere(long, ARM.model())
    model.start()
    with pytest.raises(CheckFailedError, match=r'did not answer within 0\.05 s'):
        model.check(CHUNK, arms.UR5E_HOME, RANGES)
    model.close()


def test_one_that_hangs_amid_a_message_is_ended(
    model: CheckedElsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, 'START_S', 0.05)
    monkeypatch.setattr(elsewhere, 'AGAIN_S', 3600.0)
    process = model.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    long = replace(CHUNK, instruction='x' * 4_000_000)
    told = r'within 0\.05 s\. Another one is started with a later check, 3600 s after'
    with pytest.raises(CheckFailedError, match=told):
        model.check(long, arms.UR5E_HOME, RANGES)
    assert process.poll() == -signal.SIGKILL


def test_one_that_is_started_while_it_is_closed_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    model = CheckedElsewhere(ARM, ARM.model())
    start = subprocess.Popen

    def closing(*words: Any, **more: Any) -> 'subprocess.Popen[bytes]':
        model.close()
        return start(*words, **more)

    monkeypatch.setattr(subprocess, 'Popen', closing)
    model.start()
    assert model.process is not None
    assert model.process.poll() == -signal.SIGKILL


def test_a_check_that_was_forgotten_is_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examiner, 'LONG_S', 1e-9)
    found = Examiner[str]()
    begun, go = threading.Event(), threading.Event()

    def check() -> Any:
        begun.set()
        go.wait(LONG_S)
        raise CheckFailedError('its process was ended')

    found.submit('of the robot before', check)
    assert begun.wait(LONG_S)
    assert 'a check of a chunk has taken 0 s so far' in str(found.late())
    found.forget()
    go.set()
    assert found._worker.wait_idle(LONG_S)
    assert found.late() is None
    assert not [*found.over()]
    found.close()


def test_no_module_of_the_working_directory_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'numpy.py').write_text('raise SystemExit(3)')
    monkeypatch.chdir(tmp_path)
    model = CheckedElsewhere(ARM, ARM.model())
    assert model.check(CHUNK, arms.UR5E_HOME, RANGES).finding is not None
    model.close()


def test_libraries_are_loaded_once_the_process_is_no_real_time_one() -> None:
    script = f'import sys, {checker.__name__}; sys.exit("numpy" in sys.modules)'
    subprocess.run([sys.executable, '-c', script], check=True)


def test_it_ends_with_the_controller(model: CheckedElsewhere) -> None:
    process = model.process
    assert process is not None
    model._pipe.close()
    assert process.wait(LONG_S) == 0
    model.close()
    model.start()
    assert model.process is process
