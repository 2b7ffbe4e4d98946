# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The set-up scripts: what they say, and that the environment needs no sourcing."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from package_files import ROOT

in_workspace = pytest.mark.skipif(
    importlib.util.find_spec('efficient_vla_workspace') is None,
    reason='not the interpreter of .venv; a ROS 2 workspace is sourced instead',
)


def bash(script: str) -> subprocess.CompletedProcess[str]:
    """Run lines of bash after those of preflight, on a machine where nothing can be installed."""
    setup = (
        f'set -eu; cd {ROOT}; ROS=wheels; . tools/preflight.sh; on_debian_as_root() {{ false; }}\n'
    )
    return subprocess.run(
        ['bash', '-c', setup + script], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ('lacking', 'sentence', 'command'),
    [
        ('has_compiler', 'compiler', 'apt-get install'),
        ('find_python', 'Python 3.11 or 3.12', 'python3.12-venv'),
        ('has_software_gl', 'EGL', 'libegl1'),
        ('has_disk', 'GB are free', 'make clean'),
    ],
)
def test_what_is_missing_is_told_with_the_command_that_mends_it(
    lacking: str, sentence: str, command: str
) -> None:
    others = {'has_compiler', 'find_python', 'has_software_gl', 'has_disk'} - {lacking}
    present = '\n'.join(f'{name}() {{ true; }}' for name in sorted(others))
    done = bash(f'{present}\n{lacking}() {{ false; }}\npreflight')
    assert done.returncode == 1
    message, remedy = done.stderr.splitlines()
    assert sentence in message
    assert message.endswith('.')
    assert command in remedy


def test_nothing_is_said_where_nothing_is_missing() -> None:
    names = ('has_compiler', 'find_python', 'has_software_gl', 'has_disk')
    done = bash('\n'.join(f'{name}() {{ true; }}' for name in names) + '\npreflight')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_a_python_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    """A pyenv shim exists for versions that are not selected, and fails when it is called."""
    shim = tmp_path / 'python3'
    shim.write_text('#!/bin/sh\nexit 127\n')
    shim.chmod(0o755)
    assert bash(f'usable_python {shim} "3.11 3.12"').returncode != 0


def test_a_python_of_another_version_is_passed_over() -> None:
    assert bash(f'usable_python {sys.executable} "2.7"').returncode != 0


@in_workspace
def test_the_environment_works_without_sourcing(tmp_path: Path) -> None:
    code = (
        'import efficient_vla, os, rclpy\n'
        'from efficient_vla.msg import Plan\n'
        'from efficient_vla.action import ExecuteTask\n'
        'from efficient_vla.action.settings import ActorSettings\n'
        'Plan.__class__.__import_type_support__()\n'
        'print(efficient_vla.__file__)\n'
        'print(os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"], os.environ["MUJOCO_GL"])\n'
    )
    bare = {'HOME': str(tmp_path), 'PATH': os.defpath}
    done = subprocess.run(
        [sys.executable, '-c', code], env=bare, cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    source, variables = done.stdout.splitlines()
    assert Path(source) == ROOT / 'efficient_vla' / '__init__.py'
    assert variables == 'LOCALHOST egl'


@in_workspace
def test_starting_python_imports_nothing_of_the_package() -> None:
    """It would settle which copy is used, before PYTHONPATH could say so."""
    code = 'import sys; print([name for name in sys.modules if name.startswith("efficient_vla.")])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


@in_workspace
def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    code = 'import os; print(os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"], os.environ["MUJOCO_GL"])'
    chosen = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'MUJOCO_GL': 'osmesa'}
    done = subprocess.run(
        [sys.executable, '-c', code], env=os.environ | chosen, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == ['SUBNET', 'osmesa']


@in_workspace
def test_env_sh_serves_a_shell(tmp_path: Path) -> None:
    done = subprocess.run(
        ['bash', '-c', f'. {ROOT}/tools/env.sh; command -v colcon efficient-vla; '
         'echo "$AMENT_PREFIX_PATH"'],
        env={'HOME': str(tmp_path), 'PATH': os.defpath}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[-1].split(':')[0] == str(ROOT / 'install' / 'efficient_vla')
    assert str(ROOT / '.venv/bin/efficient-vla') in lines


@in_workspace
def test_the_installed_package_has_its_programs_and_files() -> None:
    install = ROOT / 'install' / 'efficient_vla'
    for name in ('perception', 'reasoner', 'actor', 'controller', 'metaworld_robot', 'monitor'):
        assert os.access(install / 'lib' / 'efficient_vla' / name, os.X_OK), name
    assert os.access(install / 'bin' / 'efficient-vla', os.X_OK)
    for name in ('config', 'launch'):
        assert any((install / 'share' / 'efficient_vla' / name).iterdir()), name
