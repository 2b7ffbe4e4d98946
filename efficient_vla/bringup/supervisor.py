# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Start the processes of a graph, start again what dies, and end all of them together.

The twin of ``ros2 launch launch/bringup.launch.py`` for machines without launch; both read the
description in ``efficient_vla.bringup.graph``.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from efficient_vla.bringup import child
from efficient_vla.bringup.graph import Graph, Process, command, environment
from efficient_vla.bringup.parameter_files import held_in_memory, parameters_yaml
from efficient_vla.bringup.shared_memory import remove_stale_segments

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 8.0
MAX_RESTARTS = 5
"""Restarts in a row before a process counts as failed."""
FINAL_CODES = (0, 2)
"""Ended by itself, and a configuration that is as wrong at the next start."""
STABLE_S = 30.0
"""A process that lived this long starts its row of restarts anew."""
TERMINATE_TIMEOUT_S = 10.0
LOG_TAIL_LINES = 10


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a process."""

    process: str
    text: str
    serious: bool
    log_tail: str = ''


@dataclass
class Child:
    """A process of the graph and what it does now."""

    process: Process
    running: 'subprocess.Popen[bytes] | None' = None
    started: float = 0.0
    due: float | None = 0.0
    restarts: int = 0
    row: int = 0
    """Restarts since it last lived for long."""
    phase: str = 'ended'
    """'running', 'waiting' for its restart, 'failed' for good, or 'ended'."""
    exit: str = ''
    """How it last ended, or ''."""
    meter: psutil.Process | None = None
    """Of the processor that ``running`` takes."""

    @property
    def pid(self) -> int:
        """0 while it does not run."""
        return self.running.pid if self.running is not None else 0

    def use(self) -> tuple[float, float]:
        """Return the processor use since the last call [%] and the resident memory in 1e6 bytes."""
        return child.use(self.meter) if self.pid and self.meter else (0.0, 0.0)


@dataclass
class Supervisor:
    """The processes of one graph. Use it as a context: leaving ends all of them.

    ``start``, ``poll`` and ``stop`` belong to the main thread, since the processes end with the
    thread that started them.
    """

    graph: Graph
    log_folder: Path | None = None
    """One log a process; ``None`` lets them write where this process writes."""

    def __post_init__(self) -> None:
        self.children = [Child(process) for process in self.graph.processes]
        self._parameters: Path | None = None

    def __enter__(self) -> 'Supervisor':
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all processes."""
        self._parameters = held_in_memory(parameters_yaml(self.graph.parameters))
        try:
            for entry in self.children:
                self._start(entry)
        except BaseException:
            self.stop()
            raise

    def poll(self) -> list[Event]:
        """Notice what ended and start what is due; returns at once."""
        now = time.monotonic()
        events = []
        for entry in self.children:
            if entry.running is not None and entry.running.poll() is not None:
                events.append(self._ended(entry, entry.running.returncode, now))
            if entry.running is None and entry.due is not None and now >= entry.due:
                entry.restarts += 1
                self._start(entry)
                events.append(Event(entry.process.name, 'started again', serious=False))
        return events

    def stop(self) -> dict[str, int]:
        """End all processes, by SIGTERM, then by SIGKILL; return their exit codes."""
        running = {e.process.name: e.running for e in self.children if e.running is not None}
        for process in running.values():
            child.terminate(process)
        if not _all_end(running.values(), TERMINATE_TIMEOUT_S):
            for process in running.values():
                child.send(process, signal.SIGKILL)
        codes = {name: process.wait() for name, process in running.items()}
        for entry in self.children:
            if entry.running is not None:
                entry.exit = child.exit_text(codes[entry.process.name])
            entry.running, entry.due = None, None
            if entry.phase != 'failed':
                entry.phase = 'ended'
        remove_stale_segments()
        if self._parameters is not None:
            os.close(int(self._parameters.name))
            self._parameters = None
        return codes

    @property
    def failed(self) -> bool:
        """Whether a process was given up."""
        return any(entry.phase == 'failed' for entry in self.children)

    def _start(self, entry: Child) -> None:
        assert self._parameters is not None
        process = entry.process
        if self.log_folder is not None:
            # Also where somebody cleaned up while the graph runs.
            self.log_folder.mkdir(parents=True, exist_ok=True)
        log = self.log_folder / f'{process.name}.log' if self.log_folder else None
        entry.running = child.spawn(
            command(self.graph, process, self._parameters),
            {**os.environ, **environment(os.environ, self.graph.spread)},
            log,
        )
        entry.started = time.monotonic()
        entry.meter = psutil.Process(entry.running.pid)
        entry.due, entry.phase = None, 'running'

    def _ended(self, entry: Child, code: int, now: float) -> Event:
        name = entry.process.name
        entry.running, entry.exit = None, child.exit_text(code)
        if code < 0:
            remove_stale_segments()
        if now - entry.started > STABLE_S:
            entry.row = 0
        if code in FINAL_CODES:
            entry.phase = 'ended' if code == 0 else 'failed'
            return Event(name, entry.exit, code != 0, self._tail(name))
        if entry.row >= MAX_RESTARTS:
            entry.phase = 'failed'
            text = f'{entry.exit}; given up after {MAX_RESTARTS} restarts in a row'
            return Event(name, text, serious=True, log_tail=self._tail(name))
        tail = self._tail(name) if entry.row == 0 else ''
        delay = min(FIRST_DELAY_S * 2.0**entry.row, LONGEST_DELAY_S)
        entry.row += 1
        entry.due, entry.phase = now + delay, 'waiting'
        return Event(name, f'{entry.exit}; starts again in {delay:.1f} s', True, tail)

    def _tail(self, name: str) -> str:
        if self.log_folder is None:
            return ''
        try:
            lines = (self.log_folder / f'{name}.log').read_text(errors='replace').splitlines()
        except OSError as error:
            return f'its log is gone: {error}'
        return '\n'.join(lines[-LOG_TAIL_LINES:])


def _all_end(processes: Iterable['subprocess.Popen[bytes]'], timeout: float) -> bool:
    end = time.monotonic() + timeout
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
    return True
