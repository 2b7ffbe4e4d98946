# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A model of the arm that checks chunks in another process, where they do not hold the loop up.

In this one a check would take the lock of Python from the loop for as long as it lasts.
"""

import math
import os
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np

from efficient_vla.bringup.child import exit_text
from efficient_vla.control.kinematics import wire
from efficient_vla.control.kinematics.checks import Checked, Model, Ranges
from efficient_vla.control.kinematics.loading import DescribedArm
from efficient_vla.nodes.controller import checker
from efficient_vla.types import ActionChunk

START_S = 30.0
"""The process loads its libraries before the first answer."""
PATIENCE_S = 2.0
"""A check that takes longer is not waited for."""
AGAIN_S = 5.0
"""Between two starts."""


class CheckedElsewhere:
    """A ``Model`` whose ``check`` asks a process; the rest is cheap and asked of ``model``.

    The process ends with the thread that starts it: call ``start`` and ``check`` on one that lasts.
    """

    def __init__(self, arm: DescribedArm, model: Model, nice: int = 0) -> None:
        self._arm, self._model, self._nice = arm, model, nice
        self._rested: np.ndarray | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._answered = False
        self._started = -math.inf
        self._closed = False

    def start(self) -> None:
        """Start the process where there is none, but for one that ends as soon as it starts."""
        gone = self.process is None or self.process.poll() is not None
        if gone and not self._closed and time.monotonic() - self._started > AGAIN_S:
            self._spawn()

    def check(self, chunk: ActionChunk, anchor: np.ndarray, ranges: Ranges) -> Checked:
        """Return what the process finds.

        Raises ``CheckFailedError`` where it ended or takes too long; another one is started then.
        """
        rested = anchor if self._rested is None else self._rested
        try:
            answer = self._ask(wire.pack_request(chunk, anchor, ranges, rested))
        except (EOFError, OSError) as error:
            code = self._end()
            what = str(error) if isinstance(error, TimeoutError) else f'is gone: {exit_text(code)}'
            ended = self.process
            self.start()
            after = f'with a later check, {AGAIN_S:g} s after this one at the earliest'
            when = 'now' if self.process is not ended else after
            raise wire.CheckFailedError(
                f'the process that checks chunks {what}. Another one is started {when}.'
            ) from None
        self.start()
        return wire.unpack_answer(answer)

    def rest(self, axes: np.ndarray) -> None:
        """Take note that the arm starts anew at ``axes`` [M]."""
        self._rested = axes

    def begin(self, axes: np.ndarray) -> None:
        """Take note that a motion begins at ``axes`` [M]."""
        self._model.begin(axes)

    def refuse(self, axes: np.ndarray) -> str | None:
        """Return why the arm must not come to stand at ``axes`` [M], or ``None``."""
        return self._model.refuse(axes)

    def close(self) -> None:
        """End the process, also while another thread asks it."""
        self._closed = True
        self._end()

    def _ask(self, request: bytes) -> bytes:
        self.start()
        if self._pipe is None or self.process is None:
            raise EOFError
        patience = PATIENCE_S if self._answered else START_S
        late = threading.Event()
        # One that hangs may do so amid a message; what waits for the pipe ends with the process.
        guard = threading.Timer(patience, _give_up, (late, self.process))
        guard.daemon = True
        guard.start()
        try:
            self._pipe.send_bytes(request)
            answer = self._pipe.recv_bytes(checker.MOST_BYTES)
        except (EOFError, OSError):
            if late.is_set():
                raise TimeoutError(f'did not answer within {patience:g} s') from None
            raise
        finally:
            guard.cancel()
        self._answered = True
        return answer

    def _spawn(self) -> None:
        self._pipe, other = Pipe()
        self._started, self._answered = time.monotonic(), False
        # A file takes all of the description, also while nobody reads.
        with other, open(os.memfd_create('arm'), 'w+b') as arm:
            arm.write(wire.pack_arm(self._arm))
            arm.seek(0)
            given = (other.fileno(), arm.fileno())
            numbers = map(str, (*given, os.getpid(), self._nice))
            self.process = subprocess.Popen(
                # -P: no module of the folder that the controller was started in.
                [sys.executable, '-P', '-m', checker.__name__, *numbers],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,
                pass_fds=given,
            )
        if self._closed:  # meanwhile, by another thread
            self._end()

    def _end(self) -> int:
        process = self.process
        if process is None:
            return 0
        process.kill()
        return process.wait()


def _give_up(late: threading.Event, process: 'subprocess.Popen[bytes]') -> None:
    late.set()
    process.kill()
