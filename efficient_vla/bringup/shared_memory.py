# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Remove shared memory that killed processes left behind.

Fast DDS frees its segments when a process ends in order; one that was killed leaves 64 MB each
time. The lock that the owner of a segment holds on the file beside it tells whether it lives.
"""

import contextlib
import fcntl
import re
import time
from pathlib import Path

FOLDER = Path('/dev/shm')
SEGMENT = re.compile(r'fast(?:dds|rtps)_[0-9a-f]{16}')
"""Fast DDS 3 and 2."""
LOCK_SUFFIX = '_el'
MIN_AGE_S = 10.0
"""Younger files may belong to a process that is just about to lock them."""


def remove_stale_segments(folder: Path = FOLDER) -> int:
    """Remove the segments whose owner has gone; return their number."""
    removed = 0
    for lock in folder.glob(f'fast*_*{LOCK_SUFFIX}'):
        segment = lock.with_name(lock.name.removesuffix(LOCK_SUFFIX))
        if SEGMENT.fullmatch(segment.name) and _old(lock) and not _locked(lock):
            # Somebody else may clean up at the same time, and others' files may not be ours.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                segment.unlink(missing_ok=True)
                lock.unlink()
                removed += 1
    return removed


def _old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > MIN_AGE_S
    except FileNotFoundError:
        return False


def _locked(path: Path) -> bool:
    try:
        with path.open('rb') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
