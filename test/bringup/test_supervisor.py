# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The supervisor keeps processes running and leaves none behind; the children here are tiny."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from efficient_vla.bringup import child, supervisor as module
from efficient_vla.bringup.graph import Graph, Process
from efficient_vla.bringup.supervisor import Event, Supervisor

WaitUntil = Callable[[Callable[[], bool], float, str], None]
WaitGone = Callable[[int, float], None]

STAYS = "import signal\nprint('up', flush=True)\nwhile True: signal.pause()"
DEAF = (
    'import signal\n'
    'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
    "print('up', flush=True)\nwhile True: signal.pause()"
)
OBEYS = (
    'import signal, sys\n'
    'signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n'
    "print('up', flush=True)\nwhile True: signal.pause()"
)
IMPORTS = (
    'import os, signal, subprocess, sys\n'
    'for number in (signal.SIGINT, signal.SIGTERM):\n'
    '    signal.signal(number, lambda *_: os._exit(0))\n'
    f'subprocess.run([sys.executable, "-S", "-c", {STAYS!r}])'
)
"""Asks another Python for something, as glfw does while it is imported."""


def supervise(monkeypatch: pytest.MonkeyPatch, folder: Path, **programs: str) -> Supervisor:
    """Return a supervisor of one process a program, given as Python source."""

    def command(_: Graph, process: Process, __: Path) -> list[str]:
        return [sys.executable, '-S', '-c', programs[process.name]]

    monkeypatch.setattr(module, 'command', command)
    processes = tuple(Process(name, (name,)) for name in programs)
    return Supervisor(Graph(processes, (), {}, '', 'info'), folder)


def up(wait_until: WaitUntil, supervisor: Supervisor, folder: Path) -> dict[str, int]:
    """Wait until all programs said that they run; return their process ids."""
    pids = {entry.process.name: entry.pid for entry in supervisor.children}
    for name in pids:
        log = folder / f'{name}.log'
        wait_until(lambda log=log: 'up' in log.read_text(), 20.0, f'{name} is up')
    return pids


def poll_until_event(wait_until: WaitUntil, supervisor: Supervisor, text: str) -> Event:
    """Poll until an event with ``text`` happens and return it."""
    found: list[Event] = []
    wait_until(
        lambda: any(text in e.text for e in found) or found.extend(supervisor.poll()),  # type: ignore[func-returns-value]
        20.0,
        text,
    )
    return next(event for event in found if text in event.text)


def test_process_that_cannot_be_started_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    supervisor = supervise(monkeypatch, tmp_path, a=STAYS)
    supervisor.children *= 2
    spawned = []

    def spawn(*arguments: Any) -> Any:
        if spawned:
            raise OSError('no more processes')
        spawned.append(child.spawn(*arguments))
        return spawned[0]

    monkeypatch.setattr(module, 'child', SimpleNamespace(**{**vars(child), 'spawn': spawn}))
    with pytest.raises(OSError, match='no more processes'):
        supervisor.start()
    assert spawned[0].returncode is not None


def test_killed_process_starts_again(
    wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with supervise(monkeypatch, tmp_path, a=STAYS, b=STAYS) as supervisor:
        pids = up(wait_until, supervisor, tmp_path)
        os.kill(pids['a'], signal.SIGKILL)
        event = poll_until_event(wait_until, supervisor, 'SIGKILL')
        assert event.process == 'a'
        assert event.serious
        poll_until_event(wait_until, supervisor, 'started again')
        states = {entry.process.name: entry for entry in supervisor.children}
        assert states['a'].pid not in (0, pids['a'])
        assert states['a'].restarts == 1
        assert states['b'].pid == pids['b']
        assert states['b'].use()[1] > 1.0


def test_process_that_keeps_failing_is_given_up_with_its_last_words(
    wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, 'FIRST_DELAY_S', 0.01)
    monkeypatch.setattr(module, 'MAX_RESTARTS', 2)
    program = "import sys\nprint('the wheel fell off', flush=True)\nsys.exit(3)"
    with supervise(monkeypatch, tmp_path, a=program) as supervisor:
        event = poll_until_event(wait_until, supervisor, 'given up')
        assert 'exit code 3' in event.text
        assert 'the wheel fell off' in event.log_tail
        assert supervisor.failed
        assert supervisor.children[0].restarts == 2


def test_a_process_comes_back_although_somebody_removed_the_logs(
    wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, 'FIRST_DELAY_S', 0.01)
    logs = tmp_path / 'logs'
    with supervise(monkeypatch, logs, a=STAYS) as supervisor:
        pids = up(wait_until, supervisor, logs)
        shutil.rmtree(logs)
        os.kill(pids['a'], signal.SIGKILL)
        event = poll_until_event(wait_until, supervisor, 'starts again')
        assert 'its log is gone' in event.log_tail
        poll_until_event(wait_until, supervisor, 'started again')
        up(wait_until, supervisor, logs)
        assert supervisor.children[0].pid != pids['a']


def test_process_that_ends_by_itself_is_left_alone(
    wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with supervise(monkeypatch, tmp_path, a='') as supervisor:
        poll_until_event(wait_until, supervisor, 'exit code 0')
        assert supervisor.poll() == []
        assert not supervisor.failed


def test_stop_asks_first_and_insists_later(
    wait_until: WaitUntil, wait_gone: WaitGone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, 'TERMINATE_TIMEOUT_S', 0.3)
    supervisor = supervise(
        monkeypatch,
        tmp_path,
        obeys=OBEYS,
        stays=STAYS,
        deaf=DEAF,
    )
    supervisor.start()
    pids = up(wait_until, supervisor, tmp_path)
    codes = supervisor.stop()
    assert codes == {'obeys': 0, 'stays': -signal.SIGTERM, 'deaf': -signal.SIGKILL}
    for pid in pids.values():
        wait_gone(pid, 1.0)


@pytest.mark.parametrize('program', [STAYS, IMPORTS])
def test_stop_while_a_process_still_imports_gives_no_traceback(
    wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str
) -> None:
    supervisor = supervise(monkeypatch, tmp_path, a=program)
    supervisor.start()
    up(wait_until, supervisor, tmp_path)
    supervisor.stop()
    assert 'Traceback' not in (tmp_path / 'a.log').read_text()


def test_processes_end_when_the_supervisor_is_killed(wait_gone: WaitGone) -> None:
    program = (
        'import sys, pathlib, signal\n'
        'from efficient_vla.bringup import child\n'
        f'process = child.spawn([sys.executable, "-S", "-c", {STAYS!r}], {{}}, None)\n'
        'print(process.pid, flush=True)\n'
        'signal.pause()\n'
    )
    words = [sys.executable, '-c', program]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        said = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        pid = int((said - {'up'}).pop())
        parent.kill()
    wait_gone(pid, 5.0)
