# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A stop that outlives its process: a small file, until ``reset_stop`` or the next boot.

A process that is started again must not forget that somebody stopped the robot, nor can it ask
others, who may have died too. After a boot nobody can mean the stop of before; the controller
starts disabled then, as always.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_REASON = 500


class StopLatch:
    """Whether the controller ``name``, fully qualified, was stopped in the ROS ``domain``."""

    def __init__(self, name: str, domain: int, logger: Any) -> None:
        self.path = folder() / f'stop_{domain}{name.replace("/", "-")}.json'
        self._logger = logger
        self.reason = self._read()
        """Why it was stopped, or '' where it was not."""

    def set(self, reason: str) -> None:
        """Remember a stop; a robot that braked already must not wait for a disk, so no sync."""
        if self.reason:
            return
        self.reason = reason[:MAX_REASON] or 'stop requested'
        text = json.dumps({'boot': _boot(), 'reason': self.reason})
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            _refuse_others(self.path.parent)
            fresh = self.path.with_suffix(f'.{os.getpid()}')
            fresh.write_text(text)
            fresh.replace(self.path)
        except OSError as error:
            self._complain('is not remembered past the end of this process', error)

    def clear(self) -> None:
        """Forget the stop."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            self._complain('cannot be forgotten: the next controller starts stopped', error)
        self.reason = ''

    def _read(self) -> str:
        try:
            _refuse_others(self.path.parent)
            text = self.path.read_text()
        except FileNotFoundError:
            return ''
        except (OSError, UnicodeDecodeError) as error:
            return f'stopped before, and {self.path} cannot be read: {error}'
        try:
            stored = json.loads(text)
            boot, reason = str(stored['boot']), str(stored['reason'])
        except (ValueError, KeyError, TypeError):
            # Somebody stopped; what exactly was written does not matter.
            return f'stopped before, for a reason that {self.path} does not tell'
        return reason[:MAX_REASON] if boot == _boot() else ''

    def _complain(self, what: str, error: OSError) -> None:
        self._logger.error(
            f'the stop {what}: {error}. Let this user own {self.path.parent}, with mode 0700.'
        )


def folder() -> Path:
    """Return ``/tmp/efficient_vla_UID``, which is this user's alone, whatever the environment says.

    A service and a login shell have other variables; the next controller must look where this one
    wrote.
    """
    return Path('/tmp') / f'efficient_vla_{os.getuid()}'


def _refuse_others(folder: Path) -> None:
    """Raise ``OSError`` where others may write what is read from ``folder``."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f'{folder} is no folder that only user {os.getuid()} writes into')


def _boot() -> str:
    try:
        return Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    except OSError:
        return ''
