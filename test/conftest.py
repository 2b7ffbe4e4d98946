# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of all rooms."""

import fcntl
import gc
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest_plugins = ('fixtures.policies', 'fixtures.waiting')
DOMAINS = range(1, 101)
"""Domains whose ports lie below the range that Linux hands out to other programs."""


@contextmanager
def _free_domain() -> Iterator[int]:
    """Lend a domain that no test of any process on this machine uses.

    A file lock ends with the process that holds it, so a killed test run leaves nothing behind.
    Nodes refer to themselves: only the collector ends the participant of the test before, and
    Fast DDS does not always survive two in one process.
    """
    gc.collect()
    folder = Path(tempfile.gettempdir()) / f'efficient_vla_domains_{os.getuid()}'
    folder.mkdir(exist_ok=True)
    for domain in DOMAINS:
        with (folder / str(domain)).open('w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain
            return
    pytest.fail(f'no free ROS domain among {DOMAINS}; end the test runs that still go on.')


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Give the test and the processes it starts a ROS domain of their own on this machine only."""
    with _free_domain() as domain, tempfile.TemporaryDirectory() as folder:
        _use(monkeypatch, domain, folder)
        yield domain


@pytest.fixture(scope='module')
def module_ros_domain() -> Iterator[int]:
    """Give all tests of a module that share one graph a ROS domain of their own."""
    with (
        _free_domain() as domain,
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        _use(monkeypatch, domain, folder)
        yield domain


def _use(monkeypatch: pytest.MonkeyPatch, domain: int, folder: str) -> None:
    # A robot that a test stopped must not be stopped in the next test of the same domain.
    monkeypatch.setenv('XDG_RUNTIME_DIR', folder)
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
