# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Two hosts with a cable between them, as network namespaces of this machine; needs root."""

import os
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack
from typing import Self

from benchmarks.slow_node import cable

ROBOT_ADDRESS, SLOW_ADDRESS = '10.77.0.1', '10.77.0.2'
DEVICE = 'cable'
RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'


def why_no_hosts() -> str:
    """Return why this machine cannot have them, or ''."""
    if os.geteuid() != 0:
        return 'network namespaces need root'
    missing = [name for name in ('ip', 'nsenter') if shutil.which(name) is None]
    return f'{", ".join(missing)} not installed' if missing else ''


class TwoHosts(AbstractContextManager['TwoHosts']):
    """Namespaces ``robot`` and ``slow``, gone when the block is over.

    In the block this process lives at the robot; enter it before any thread is started.
    """

    def __init__(self) -> None:
        self.robot, self.slow = (f'{name}_{os.getpid()}' for name in ('robot', 'slow'))
        self._left = ExitStack()

    def __enter__(self) -> Self:
        """Make both and the cable, and go to the robot."""
        with ExitStack() as stack:
            for namespace in (self.robot, self.slow):
                _run('ip', 'netns', 'add', namespace)
                stack.callback(_run, 'ip', 'netns', 'delete', namespace)
            words = [sys.executable, cable.__file__, DEVICE, self.robot, self.slow]
            self._cable = stack.enter_context(
                subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            assert self._cable.stdout is not None
            self._cable.stdout.readline()
            for namespace, address in ((self.robot, ROBOT_ADDRESS), (self.slow, SLOW_ADDRESS)):
                _run('ip', '-n', namespace, 'address', 'add', f'{address}/24', 'dev', DEVICE)
                for device in ('lo', DEVICE):
                    _run('ip', '-n', namespace, 'link', 'set', device, 'up')
            here = os.open('/proc/self/ns/net', os.O_RDONLY)
            stack.callback(os.close, here)
            with open(f'/run/netns/{self.robot}') as file:
                cable.enter(file.fileno())
            stack.callback(cable.enter, here)
            former = os.environ.get(RANGE)
            os.environ[RANGE] = 'SUBNET'
            stack.callback(os.environ.update, {RANGE: former or ''})
            self._left = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Come back, and take both down."""
        self._left.close()

    def impair(self, loss: float = 0.0, delay: float = 0.0) -> None:
        """Let a share of all packets be lost, and the others be on their way for so long [s]."""
        assert self._cable.stdin is not None
        self._cable.stdin.write(f'{loss} {delay}\n')
        self._cable.stdin.flush()


def on_host(namespace: str) -> list[str]:
    """Return how a command begins that runs there, in the process that is started."""
    return ['nsenter', f'--net=/run/netns/{namespace}']


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f'{" ".join(words)}: {done.stderr.strip()}')
