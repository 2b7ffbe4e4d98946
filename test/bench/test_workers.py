# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Jobs in several processes, one of which may be killed by the system."""

import os
from pathlib import Path

import pytest

from efficient_vla.errors import EpisodeError
from efficient_vla.workers import in_workers


def test_every_job_is_done_in_a_process_that_was_prepared(tmp_path: Path) -> None:
    jobs = [('a', 'b'), ('c', 'd'), ('e', 'f')]
    joined = in_workers(os.path.join, jobs, 2)
    assert sorted(joined) == ['a/b', 'c/d', 'e/f']
    there = in_workers(os.path.abspath, [('a',), ('b',)], 2, os.chdir, (str(tmp_path),))
    assert sorted(there) == [str(tmp_path / name) for name in 'ab']


def test_a_worker_that_is_killed_ends_the_run_with_a_sentence() -> None:
    with pytest.raises(EpisodeError, match=r'one of 2 worker processes died.*fewer --workers'):
        list(in_workers(os._exit, [(137,)], 2))
