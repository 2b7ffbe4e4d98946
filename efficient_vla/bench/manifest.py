# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a measurement was made with, so that anyone can repeat and compare it."""

import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficient_vla.places import EXPORTS, PolicyPlace

PACKAGES = (
    'efficient_vla',
    'torch',
    'transformers',
    'numpy',
    'mujoco',
    'metaworld',
    'safetensors',
    'ruckig',
    'ros-rclpy',
    'ros-rmw-fastrtps-cpp',
)


def manifest(
    policy: PolicyPlace | None, parameters: Mapping[str, Any], **facts: Any
) -> dict[str, Any]:
    """Return versions, parameters, checkpoint hash, machine, command line and time.

    ``policy`` is ``None`` where no policy runs.
    ``parameters`` maps ``node.param`` to its value; ``facts`` are those of the run: seeds,
    rendering, camera, state width and what else decides about its result.
    """
    checkpoint = None
    if isinstance(policy, Path):
        checkpoint = {'name': policy.name, 'sha256': checkpoint_hash(policy)}
    elif policy is not None:
        checkpoint = {'server': str(policy)}
    return {
        'time': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
        'command': command(),
        'git_commit': git_commit(),
        'versions': versions(),
        'machine': machine(),
        'checkpoint': checkpoint,
        'parameters': dict(sorted(parameters.items())),
        **facts,
    }


def command() -> str:
    """Return the words that started this process: the command line, or a module of its own."""
    found = getattr(sys.modules['__main__'], '__spec__', None)
    module = getattr(found, 'name', '')
    start = ['python', '-m', module] if module.startswith('benchmarks.') else ['efficient-vla']
    return shlex.join([*start, *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Return the version of Python and of every package that decides about a result."""
    found = {'python': platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if 'ROS_DISTRO' in os.environ:
        found['ros_distro'] = os.environ['ROS_DISTRO']
    return found


def machine() -> dict[str, Any]:
    """Return processor, usable cores, memory and system; no name of host or user."""
    return {
        'cpu': _cpu_model(),
        'cores': len(os.sched_getaffinity(0)),
        'memory_gb': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9, 1),
        'os': f'{platform.system()} {platform.release()}',
        'architecture': platform.machine(),
    }


def checkpoint_hash(policy: Path) -> str:
    """Return one sha256 over names and contents of the files of a policy folder.

    What engines keep there follows from the others, and from the machine. Links are followed.
    """
    digest = hashlib.sha256()
    files = (
        Path(folder, name)
        for folder, _, names in os.walk(policy, followlinks=True)
        for name in names
    )
    paths = (path for path in files if EXPORTS not in path.relative_to(policy).parts)
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(path.relative_to(policy).as_posix().encode() + b'\0')
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def git_commit() -> str:
    """Return the commit of the source tree, ``+changes`` if it was edited, '' if unknown."""
    source = Path(__file__).resolve().parents[2]
    if not (source / '.git').exists():
        return ''
    try:
        commit = _git(source, 'rev-parse', 'HEAD')
        changed = _git(source, 'status', '--porcelain', '--untracked-files=no')
    except (OSError, subprocess.SubprocessError):
        return ''
    return commit + ('+changes' if changed else '')


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ['git', '-C', str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return models[0] if models else platform.processor()
