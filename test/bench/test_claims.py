# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""An output folder belongs to one run, and to nobody once that run is dead."""

import subprocess
import sys
from pathlib import Path

import pytest

from efficient_vla.claims import claimed
from efficient_vla.cli import main
from efficient_vla.errors import UsageError

HOLD = """
import sys
from pathlib import Path
from efficient_vla.claims import claimed
with claimed(Path(sys.argv[1])):
    print('held', flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_free_again_once_the_run_that_had_it_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, '-c', HOLD, str(tmp_path / 'new')]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b'held\n'
        with pytest.raises(UsageError, match='another run'), claimed(tmp_path / 'new'):
            pass
        other.kill()
    with claimed(tmp_path / 'new'):
        assert list((tmp_path / 'new').iterdir()) == []


@pytest.mark.parametrize(
    'words',
    [
        ['data', '--tasks', 'reach-v3'],
        ['data', '--format', 'lerobot', '--tasks', 'reach-v3'],
        ['train'],
        ['compress', 'evla-nano', '--budget-ms', '1'],
    ],
)
def test_what_takes_long_begins_in_no_folder_that_another_run_fills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with claimed(tmp_path):
        assert main([*words, '--out', str(tmp_path)]) == 2
    assert f'another run is writing into {tmp_path}' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['evla-nano', '--seed', '-1'], 'seed -1; expected at least 0'),
        (['evla-nano', '--tasks', ''], 'no task given'),
        (['evla-nano', '--tasks', 'reach-v3,reach-v3'], 'named twice'),
        (['ur5e-nano'], 'Use a policy'),
        (['evla-nano', '--out', 'FILE/new'], 'cannot write into'),
    ],
)
def test_compress_measures_nothing_for_what_fails_in_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    (tmp_path / 'file').touch()
    words = [word.replace('FILE', str(tmp_path / 'file')) for word in words]
    out = ['--out', str(tmp_path / 'out')] if '--out' not in words else []
    assert main(['compress', '--budget-ms', '1', *words, *out]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert 'recording' not in told.out
