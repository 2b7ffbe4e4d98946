# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Only the segments of dead processes are removed."""

import fcntl
import os
from pathlib import Path

import pytest

from efficient_vla.bringup.shared_memory import remove_stale_segments


def segment(folder: Path, name: str, age: float = 60.0) -> Path:
    """Make a segment and its lock file, both this old [s]."""
    path = folder / name
    for file in (path, path.with_name(f'{name}_el')):
        file.touch()
        then = file.stat().st_mtime - age
        os.utime(file, (then, then))
    return path


@pytest.mark.parametrize('name', ['fastdds_0123456789abcdef', 'fastrtps_0123456789abcdef'])
def test_segment_without_an_owner_is_removed(tmp_path: Path, name: str) -> None:
    stale = segment(tmp_path, name)
    assert remove_stale_segments(tmp_path) == 1
    assert not stale.exists()
    assert list(tmp_path.iterdir()) == []


def test_locked_young_and_foreign_files_stay(tmp_path: Path) -> None:
    owned = segment(tmp_path, 'fastdds_0123456789abcdef')
    young = segment(tmp_path, 'fastdds_fedcba9876543210', age=0.0)
    port = segment(tmp_path, 'fastdds_port7400')
    with owned.with_name(f'{owned.name}_el').open('rb') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_stale_segments(tmp_path) == 0
    assert owned.exists()
    assert young.exists()
    assert port.exists()
