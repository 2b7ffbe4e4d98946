# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Read ROS parameter files without ROS."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml


def node_values(files: Iterable[Path], node: str) -> dict[str, Any]:
    """Return dotted parameter -> value of one node; later files are stronger.

    Understands ``/**: ros__parameters``, ``node: ros__parameters`` and ``/**: node:
    ros__parameters``, which is what the files of this package use.
    """
    values: dict[str, Any] = {}
    for path in files:
        tree = yaml.safe_load(path.read_text()) or {}
        everywhere = tree.get('/**', {})
        for place in (everywhere, tree.get(node, {}), everywhere.get(node, {})):
            values.update(_flat(place.get('ros__parameters', {})))
    return values


def _flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            values.update(_flat(value, f'{prefix}{name}.'))
        else:
            values[prefix + name] = value
    return values
