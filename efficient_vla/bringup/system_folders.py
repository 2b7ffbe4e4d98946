# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders that put a policy under the profile of a published system.

Such a folder lies in the user's cache and brings the profile as its ``deployment.yaml``, so that
every command takes it as it takes any other. That of a folder of the user consists of links.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from efficient_vla.bringup import deployment
from efficient_vla.bringup.catalogue import KINDS, POLICY_NODES
from efficient_vla.bringup.parameter_files import merge, parameters_yaml
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.places import share_folder, user_cache
from efficient_vla.policy_folders import weights_of, why_none
from efficient_vla.systems import refuse_other

KEPT = 'systems'


def profile_of(name: str) -> dict[str, dict[str, Any]]:
    """Return node -> parameter -> value of what a system is composed of."""
    found = merge([profile_file(name)], KINDS, POLICY_NODES).values
    return {n: {k: v for k, v in own.items() if k != 'policy'} for n, own in found.items()}


def profile_file(name: str) -> Path:
    """Return the profile of a system."""
    return share_folder('config') / 'policies' / f'{name}.yaml'


def write_deployment(folder: Path, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the parameters that a folder brings."""
    (folder / deployment.FILE).write_text(parameters_yaml(values))


def under_profile(name: str, folder: Path) -> Path:
    """Return a folder with the policy in ``folder`` and the profile of a system.

    What ``compress`` found for the policy is stronger than the profile. Raises ``CheckpointError``
    where the folder is no policy, damaged or of another architecture, ``UsageError`` where memory
    does not suffice.
    """
    folder = folder.resolve()
    none = why_none(folder)
    if none:
        raise CheckpointError(f'{name}={folder} names no policy folder: {none}')
    refuse_other(name, folder)
    numbers, stored_mb = weights_of(folder)
    if not numbers:
        raise CheckpointError(
            f'{folder} holds no weights; expected *.safetensors. Copy the whole checkpoint folder.'
        )
    refuse_large(str(folder), stored_mb / 1e3)
    values, own = profile_of(name), deployment.values_of(folder)
    values = {node: values.get(node, {}) | own.get(node, {}) for node in POLICY_NODES}
    parts = sorted(path for path in folder.iterdir() if path.name != deployment.FILE)
    key = digest(values, parts)

    def link(made: Path) -> None:
        for path in parts:
            (made / path.name).symlink_to(path)
        write_deployment(made, values)

    return kept(f'{name}-of-{folder.name}-{key}', link)


def digest(*said: Any) -> str:
    """Return a short hash of what a folder is made from."""
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of this name in the user's cache, made first where it is not there.

    It appears whole or not at all, and what an interruption left is made again; of processes that
    want it at once one makes it. Raises ``UsageError`` where nothing can be written.
    """
    folder = user_cache(KEPT) / name
    aside = folder.with_name(f'.{name}')
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f'.{name}.lock').open('w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            try:
                make(aside)
                os.rename(aside, folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f'cannot write {folder}: {error}. Free some space, or set XDG_CACHE_HOME to a folder '
            'that can be written.'
        ) from error
    return folder


def refuse_large(what: str, needed_gb: float) -> None:
    """Raise ``UsageError`` where weights need more memory than is free [GB]."""
    free_gb = psutil.virtual_memory().available / 1e9
    if needed_gb > free_gb:
        raise UsageError(
            f'{what} needs {needed_gb:.1f} GB of memory; {free_gb:.1f} GB are free. Free some, '
            'take a smaller shape, or use a larger machine.'
        )
