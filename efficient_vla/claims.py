# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One run at a time fills an output folder."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from efficient_vla.errors import UsageError


def writable_folder(path: Path, option: str) -> Path:
    """Make the folder that ``option`` names, so that a long run does not fail at its end."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(f'cannot write into {path}: {error}. Choose another {option}.') from error
    return path


@contextmanager
def claimed(path: Path, option: str = '--out') -> Iterator[None]:
    """Have the folder that ``option`` names for this run alone; it is made where it is missing.

    The claim is a lock of the system, which ends with the process, however that ends. Raises
    ``UsageError`` where nothing can be written into the folder, or another run has it.
    """
    number = os.open(writable_folder(path, option), os.O_RDONLY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f'another run is writing into {path}; expected one at a time, or both would be '
                f'mixed up. Wait until it ends, or choose another {option}.'
            ) from error
        yield
    finally:
        os.close(number)
