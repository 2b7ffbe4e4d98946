# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``policy_type`` of a policy folder -> the module that builds its stages."""

from pathlib import Path
from typing import Any

from efficient_vla import plugins
from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError

OWN = {'evla': 'efficient_vla.assembly', 'passthrough': 'efficient_vla.passthrough'}
LOADERS = ('load_perception', 'load_reasoner', 'load_actor')
"""What such a module has, each made of (folder, settings of the stage)."""


def stages_of(folder: Path) -> Any:
    """Return the module of the policy type that the folder's card names.

    Raises ``CheckpointError`` for a type that nobody offers or that lacks a stage, and
    ``PluginError`` for a package that cannot be imported.
    """
    card = folder / 'policy.json'
    kind = read_json(card).get('policy_type')
    known = plugins.names(plugins.POLICIES, OWN)
    if kind not in known:
        raise CheckpointError(
            f'{card} has policy_type {kind!r}; expected {", ".join(known[:-1])} or {known[-1]}. '
            'Use a checkpoint of this package, or install the package that brings this type.'
        )
    module = plugins.load(plugins.POLICIES, kind, OWN)
    missing = [name for name in LOADERS if not hasattr(module, name)]
    if missing:
        raise CheckpointError(
            f'policy_type {kind!r} is {module.__name__}, which has no {", ".join(missing)}; '
            f'expected {", ".join(LOADERS)}. Repair the package that offers it.'
        )
    return module
