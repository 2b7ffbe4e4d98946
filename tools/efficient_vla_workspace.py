# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Let the interpreter of .venv see this source tree, its build and ROS 2 without sourcing.

``tools/setup`` copies this file into the environment together with a .pth file that calls
``enter`` when Python starts. ``python -m efficient_vla_workspace`` prints the same settings as
shell lines for ``tools/env.sh``.
"""

import os
import runpy
import shlex
import sys
from pathlib import Path

REENTERED = '_EFFICIENT_VLA_ENTERED'
"""Holds the workspace whose libraries this process was started with."""

PACKAGES = ('efficient_vla', 'control_msgs')
"""What is built here; control_msgs where ROS 2 comes from wheels, which lack it."""

WHEELS_BOOTSTRAPPED = '_ROS_WHEELS_BOOTSTRAP_COMPLETE'
"""Tells the ROS wheels that their library path is set; they would restart Python once more."""


def settings(root: Path, environ: dict[str, str]) -> dict[str, str]:
    """Return the variables to set; what the user has set stays in front or as it is."""
    prefix = Path(sys.prefix)
    site = Path(__file__).parent
    wheels = (prefix / 'share' / 'ament_index').is_dir()
    prefixes = _built(root)
    libraries = [install / 'lib' for install in prefixes]
    if wheels:
        prefixes.append(prefix)
        libraries += [prefix / 'lib', *sorted(site.glob('ros_*.libs'))]
    wanted = {
        'AMENT_PREFIX_PATH': _joined(environ.get('AMENT_PREFIX_PATH', ''), prefixes),
        'CMAKE_PREFIX_PATH': _joined(environ.get('CMAKE_PREFIX_PATH', ''), prefixes),
        'LD_LIBRARY_PATH': _joined(environ.get('LD_LIBRARY_PATH', ''), libraries),
        'MUJOCO_GL': environ.get('MUJOCO_GL', 'egl'),
    }
    profile = root / 'config' / 'fastdds.xml'
    if profile.is_file():
        # Not imported: that would settle which copy of the package this process uses.
        rule = runpy.run_path(str(root / 'efficient_vla' / 'bringup' / 'fastdds.py'))
        name = rule['profile_variable'](wanted)
        wanted[name] = environ.get(name, str(profile))
    if wheels:
        # A sourced ROS 2 installation may drive a robot on another host and keeps its own range.
        wanted['ROS_AUTOMATIC_DISCOVERY_RANGE'] = environ.get(
            'ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST'
        )
        wanted[WHEELS_BOOTSTRAPPED] = '1'
    return {name: value for name, value in wanted.items() if value}


def _built(root: Path) -> list[Path]:
    """Return where the packages of the workspace are installed."""
    return [path for path in (root / 'install' / name for name in PACKAGES) if path.is_dir()]


def _joined(present: str, added: list[Path]) -> str:
    parts = [part for part in present.split(os.pathsep) if part]
    missing = [str(path) for path in added if str(path) not in parts]
    return os.pathsep.join(missing + parts)


def enter(root: str) -> None:
    """Extend ``sys.path`` and the environment; restart Python once where libraries need it.

    The loader reads LD_LIBRARY_PATH only when a process starts, hence the restart.
    """
    workspace = Path(root)
    site = f'lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages'
    for path in (workspace, *(install / site for install in _built(workspace))):
        if path.is_dir() and str(path) not in sys.path:
            sys.path.append(str(path))
    before = os.environ.get('LD_LIBRARY_PATH', '')
    os.environ.update(settings(workspace, dict(os.environ)))
    os.environ['_EFFICIENT_VLA_ROOT'] = root
    changed = os.environ.get('LD_LIBRARY_PATH', '') != before
    if changed and os.environ.get(REENTERED) != root:
        os.environ[REENTERED] = root
        os.execv(sys.executable, sys.orig_argv)


if __name__ == '__main__':
    workspace_root = Path(os.environ['_EFFICIENT_VLA_ROOT'])
    for key, text in settings(workspace_root, dict(os.environ)).items():
        sys.stdout.write(f'export {key}={shlex.quote(text)}\n')
