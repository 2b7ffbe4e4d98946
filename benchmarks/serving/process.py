# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A server in a process of its own, which can be killed and started again at the same place."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from efficient_vla.errors import EpisodeError

START_S = 600.0
"""A server that does not listen after this long will not."""
POLL_S = 0.01


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


class ServerProcess(AbstractContextManager['ServerProcess']):
    """``python WORDS`` listening on a port; ends with the block."""

    def __init__(self, words: Sequence[str], port: int, log: Path) -> None:
        self.port = port
        self._words, self._log = words, log
        self._process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        """What ``--policy`` takes."""
        return f'ws://127.0.0.1:{self.port}'

    def start(self) -> None:
        """Start it; return at once."""
        with self._log.open('ab') as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._words],
                stdout=log,
                stderr=log,
                env={**os.environ, 'OMP_NUM_THREADS': '1'},
            )

    def kill(self) -> None:
        """End it as a lost machine would end it, without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def wait_listening(self) -> float:
        """Return the time, by the steady clock, at which it is found to listen [s]."""
        end = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(('127.0.0.1', self.port), 1.0).close()
                return time.monotonic()
            except OSError:
                dead = self._process is None or self._process.poll() is not None
                if dead or time.monotonic() > end:
                    raise EpisodeError(
                        f'the server does not listen on port {self.port}: '
                        f'{self._log.read_text()[-500:]}'
                    ) from None
            time.sleep(POLL_S)

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        try:
            self.start()
            self.wait_listening()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        self.kill()
