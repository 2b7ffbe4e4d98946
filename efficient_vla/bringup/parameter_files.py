# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""ROS parameter files, looked through before any process reads them.

ROS drops parameters of a node that does not exist without a word, a misspelled one's included: the
arm would move inside the limits of nobody's workspace.
"""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

PARAMETERS = 'ros__parameters'
ALIKE = 0.75
"""Names that are at least so similar are taken for each other's misspelling."""


def refuse_file(path: Path, nodes: Collection[str]) -> str | None:
    """Return why a parameter file cannot be meant as it is, or ``None``.

    ``nodes`` are the names of this package; a file may also have parameters for others.
    """
    try:
        tree = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return f'the parameter file {str(path)!r} is not YAML: {error}'
    if tree is not None and not isinstance(tree, Mapping):
        return (
            f'the parameter file {str(path)!r} holds {type(tree).__name__}; expected nodes with '
            f'{PARAMETERS}, as the files in config/ have them.'
        )
    for name, value in _named(tree or {}):
        close = get_close_matches(name, nodes, 1, ALIKE)
        if name not in nodes and close:
            return (
                f'the parameter file {str(path)!r} has parameters for {name!r}, which is no node; '
                f'did you mean {close[0]!r}?'
            )
        if name in nodes and PARAMETERS not in value:
            return (
                f'the parameter file {str(path)!r} has no {PARAMETERS} below {name!r}; expected '
                'them there, as in the files in config/.'
            )
    return None


def _named(tree: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name of every node in ``tree`` and what stands below it."""
    for key, value in tree.items():
        if key == PARAMETERS or not isinstance(value, Mapping):
            continue
        name = str(key).rpartition('/')[2]
        inside = any(isinstance(v, Mapping) and PARAMETERS in v for v in value.values())
        if inside or '*' in name:
            yield from _named(value)
        else:
            yield name, value
