# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Every step of docs/extending.md is followed in a copy of the package."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'extending.md').read_text()
SECTIONS = dict(re.findall(r'^## (.+?)\n(.*?)(?=^## |\Z)', PAGE, re.S | re.M))
STEP = re.compile(r'^(\d)\. (.*?)(?=^\d\. |\Z)', re.S | re.M)
BLOCK = re.compile(r'^ *```(\w+)\n(.*?)^ *```', re.S | re.M)
TECHNIQUES = {
    'A selector of visual tokens': 'centre',
    'An action head': 'smooth',
    'A blending': 'mean_of_two',
}


@pytest.fixture(scope='module')
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what the page changes."""
    root = tmp_path_factory.mktemp('tree')
    for name in ('efficient_vla', 'benchmarks', 'config'):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns('__pycache__'))
    (root / 'docs').mkdir()
    (root / 'models').symlink_to(ROOT / 'models')
    return root


def follow(tree: Path, section: str) -> None:
    """Write, change and run what the five steps of a section say, in their order."""
    steps = STEP.findall(SECTIONS[section])
    assert [number for number, _ in steps] == ['1', '2', '3', '4', '5']
    for _, text in steps:
        (kind, block), *more = BLOCK.findall(text)
        assert not more, 'one block a step'
        block = textwrap.dedent(block)
        if kind == 'console':
            for line in block.splitlines():
                run(tree, line.removeprefix('$ '))
            continue
        path = tree / re.findall(r'`([^`]+)`:\n', text)[-1]
        if kind == 'diff':
            change(path, block)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        assert not path.exists()
        path.write_text(block)


def change(path: Path, block: str) -> None:
    """Put the added lines behind the line of context, which has to be there once."""
    context, *added = block.splitlines()
    lines = path.read_text().splitlines()
    assert lines.count(context[1:]) == 1
    assert all(line.startswith('+') for line in added)
    at = lines.index(context[1:]) + 1
    path.write_text('\n'.join([*lines[:at], *(line[1:] for line in added), *lines[at:]]) + '\n')


def run(tree: Path, line: str) -> None:
    """Run a command of the page with the copy and what was installed in front of all else."""
    words = shlex.split(line)
    if words[:2] == ['pip', 'install']:
        install(tree / words[2])
        return
    words[:1] = [sys.executable, '-m', 'efficient_vla.cli'][: 1 if words[0] == 'python' else 3]
    places = [tree, *(path for path in tree.iterdir() if list(path.glob('*.dist-info')))]
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(map(str, places))}
    done = subprocess.run(
        words, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f'{line}\n{done.stdout}{done.stderr}'


def install(folder: Path) -> None:
    """Do what pip does with a project of one module, without a network."""
    project = tomllib.loads((folder / 'pyproject.toml').read_text())['project']
    info = folder / f'{project["name"].replace("-", "_")}-{project["version"]}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: {project["name"]}\nVersion: {project["version"]}\n'
    )
    (info / 'entry_points.txt').write_text(
        ''.join(
            f'[{group}]\n' + ''.join(f'{name} = {value}\n' for name, value in entries.items())
            for group, entries in project['entry-points'].items()
        )
    )


@pytest.mark.parametrize('section', TECHNIQUES)
def test_a_technique_is_a_file_and_a_line(section: str, tree: Path) -> None:
    follow(tree, section)
    name = TECHNIQUES[section]
    assert f'`{name}`' in (tree / 'docs' / 'parameters.md').read_text()


def test_a_policy_family_and_a_robot_are_packages_of_their_own(tree: Path) -> None:
    follow(tree, 'A policy family')
    follow(tree, 'A simulated robot')
    (episode,) = json.loads((tree / 'out.json').read_text())['episodes']
    assert episode['success']


def test_the_page_has_no_other_sections() -> None:
    assert set(SECTIONS) == {*TECHNIQUES, 'A policy family', 'A simulated robot'}
