# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the package keeps what it ships."""

import os
from os import PathLike
from pathlib import Path

from efficient_vla.addresses import ServerAddress, server_address
from efficient_vla.errors import UsageError

EXPORTS = 'engines_cache'
"""Folder of what engines made of a policy, beside it or in the user's cache."""
PolicyPlace = Path | ServerAddress
"""Where a policy is: a folder, or a server that offers it."""


def share_folder(name: str) -> Path:
    """Return ``models``, ``config`` or another folder that is shipped beside the code.

    A source tree has it beside the Python package; an installed package has it in
    ``share/efficient_vla`` of one of the prefixes.
    """
    source = Path(__file__).resolve().parents[1]
    prefixes = filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep))
    places = [source / name, *(Path(p) / 'share' / 'efficient_vla' / name for p in prefixes)]
    for place in places:
        if place.is_dir():
            return place
    raise UsageError(
        f'the folder {name!r} of efficient_vla is neither in {source} nor in a prefix of '
        'AMENT_PREFIX_PATH. Source the set-up file of the workspace, or run from the source tree.'
    )


def user_cache(name: str) -> Path:
    """Return the folder of this package in the user's cache, which need not be there."""
    cached = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(cached) / 'efficient_vla' / name


def policy_folder(name: str | Path) -> Path:
    """Return the folder of a policy: a path, or the name of a shipped policy."""
    folder = Path(name).expanduser()
    if folder.is_dir() or len(folder.parts) != 1:
        return folder
    try:
        shipped = share_folder('models') / folder
    except UsageError:
        return folder
    return shipped if shipped.is_dir() else folder


def policy_place(name: str | PathLike[str]) -> PolicyPlace:
    """Return where a policy is: a path, the name of a shipped policy, or ``ws://host:port``."""
    return server_address(name) or policy_folder(Path(name))


def given_place(path: str | PathLike[str]) -> PolicyPlace:
    """Return where a policy is that is no name of a shipped one."""
    return server_address(path) or Path(path)
