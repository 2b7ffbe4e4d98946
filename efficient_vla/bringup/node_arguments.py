# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What one process of nodes does with what it was started with: parameter files, launcher, imports.

``efficient-vla up`` and the launch files check parameter files for all nodes; here is the same for
``ros2 run`` and ``python -m efficient_vla.nodes``.
"""

import os
import select
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from efficient_vla.bringup.catalogue import KINDS
from efficient_vla.bringup.parameter_files import (
    held_in_memory,
    merge,
    parameters_yaml,
    typed,
)
from efficient_vla.bringup.remaps import words_of
from efficient_vla.places import share_folder
from efficient_vla.sim.catalogue import MISSING

LAUNCHER = 'EFFICIENT_VLA_LAUNCHER'
"""Variable that holds the process id of the launch that a node must not outlive."""
FILES = '--params-file'


def checked_files(words: Sequence[str], nodes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return ROS arguments whose parameter files are one that ROS can read, and notes for the log.

    Raises ``ParameterFileError`` naming file, line and remedy.
    """
    places = [at for at, word in enumerate(words) if word == FILES and at + 1 < len(words)]
    remaps = [word.split(':=', 1) for word in words if ':=' in word]
    renamed = [name for rule, name in remaps if rule.endswith('__node') and name not in nodes]
    # The names in the files are then the user's own; ROS itself finds what they are for.
    if not places or renamed:
        return list(words), []
    files = [Path(words[at + 1]) for at in places]
    namespaces = [name.strip('/') for rule, name in remaps if rule == '__ns']
    namespace = f'/{namespaces[-1]}' if namespaces and namespaces[-1] else ''
    merged = merge(files, KINDS, nodes, namespace)
    for name, values in merged.values.items():
        typed(values, KINDS[name])
    dropped = {at + shift for at in places[1:] for shift in (0, 1)}
    kept = [word for at, word in enumerate(words) if at not in dropped]
    kept[places[0] + 1] = str(held_in_memory(parameters_yaml(merged.values)))
    # Behind those of the command line, which are then the stronger ones.
    for rule in words_of(merged.remaps, nodes):
        kept += ['-r', rule]
    return kept, merged.notes


class Launcher:
    """The process that started this one, where it wants its nodes to end with it."""

    def __init__(self, present: Mapping[str, str]) -> None:
        self._descriptor: int | None = None
        self._gone = False
        number = present.get(LAUNCHER, '')
        if number.isdigit():
            try:
                self._descriptor = os.pidfd_open(int(number))
            except ProcessLookupError:
                self._gone = True

    def gone(self) -> bool:
        """Return whether there was a launcher that has ended, however that happened."""
        if self._descriptor is not None:
            self._gone = bool(select.select([self._descriptor], [], [], 0.0)[0])
        return self._gone


class MissingPackageError(RuntimeError):
    """A package cannot be imported; the message says how to install it."""

    def __init__(self, error: ImportError) -> None:
        if (error.name or '').startswith('efficient_vla.'):
            super().__init__(MISSING)
            return
        wanted = share_folder('config').parent / 'requirements.txt'
        super().__init__(
            f'{error}: a package that this node needs is missing or broken. Install it with: '
            f'{sys.executable} -m pip install -r {wanted}   (in a checkout: '
            'make setup; rosdep knows only some of them)'
        )
