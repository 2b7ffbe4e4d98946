# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Style and types, checked by the tools that pyproject.toml sets up."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from package_files import FOLDERS, ROOT, sources

HEADER = ('Copyright 2026 efficient_vla contributors', 'SPDX-License-Identifier: Apache-2.0')
ENDINGS = {
    '.action', '.cfg', '.in', '.msg', '.py', '.rviz', '.sh', '.srv', '.txt', '.xml', '.yaml',
}  # fmt: skip
LINES_SHOWN = 30
LONE_FILES = (
    '.ci/run', '.github/workflows/test.yml', '.pre-commit-config.yaml', 'CMakeLists.txt',
    'Makefile', 'constraints-jazzy.txt', 'setup.py', 'tools/python_tree.cmake', 'tools/setup',
)  # fmt: skip


def run(*command: str) -> None:
    if importlib.util.find_spec(command[0]) is None:
        pytest.skip(f'{command[0]} is not installed; it is in requirements-dev.txt')
    done = subprocess.run(
        [sys.executable, '-m', *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 0, '\n'.join(lines[-LINES_SHOWN:])


def test_ruff_finds_nothing() -> None:
    run('ruff', 'check', '--output-format', 'concise', '.')


def test_ruff_would_format_nothing() -> None:
    """Mend with ``make format``."""
    run('ruff', 'format', '--check', '--output-format', 'concise', '.')


@pytest.mark.timeout(400)
def test_mypy_finds_nothing() -> None:
    run('mypy')


def written_files() -> list[Path]:
    inside = [path for folder in FOLDERS for path in sources(ROOT / folder, '*')]
    return [p for p in inside if p.suffix in ENDINGS] + [ROOT / name for name in LONE_FILES]


def test_every_file_begins_with_the_licence_header() -> None:
    offenders = []
    for path in written_files():
        beginning = '\n'.join(path.read_text().splitlines()[:5])
        if not all(line in beginning for line in HEADER):
            offenders.append(path.relative_to(ROOT).as_posix())
    assert not offenders


def test_scripts_are_valid_bash() -> None:
    for path in (ROOT / 'tools/setup', *sources(ROOT / 'tools', '*.sh'), ROOT / '.ci/run'):
        done = subprocess.run(['bash', '-n', path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
