# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Policies in folders that LeRobot writes; LeRobot itself is not needed. Torch is loaded later."""

from importlib import import_module
from pathlib import Path
from typing import Any

from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError
from efficient_vla.policy_folders import FolderFacts

TYPES = ('act', 'diffusion', 'pi0', 'pi05', 'smolvla')
"""``type`` of ``config.json``, each a module of this room with the loaders of its stages, and with
``replay(folder, batch, noise)``: by the names of ``reference.npz`` what the policy makes of a batch
of ``LeRobotFolder.preprocess``, at least the normalised ``chunk`` [1, H, A]."""

INSTEAD = {
    'pi0_fast': 'It names tokens of FAST instead of denoising a chunk: train pi0 or pi05 on the '
    'same dataset, or use a NORA, whose tokens of FAST are read.',
}
"""Type that is not run -> what to do."""


def kind_of(folder: Path) -> str:
    """Return the type of policy in a folder.

    Raises ``CheckpointError`` for one that this package does not run.
    """
    kind = read_json(folder / 'config.json').get('type')
    if kind not in TYPES:
        raise CheckpointError(
            f'{folder} holds a policy of LeRobot of type {kind!r}; expected one of '
            f'{", ".join(TYPES)}. {INSTEAD.get(str(kind), "Use a policy of one of these types.")}'
        )
    return str(kind)


def module_of(folder: Path) -> Any:
    """Return the module of the policy type in a folder."""
    return import_module(f'{__name__}.{kind_of(folder)}')


def load_perception(folder: Path, settings: Any) -> Any:
    """Return the perception stage of a folder."""
    return module_of(folder).load_perception(folder, settings)


def load_reasoner(folder: Path, settings: Any) -> Any:
    """Return the reasoner of a folder."""
    return module_of(folder).load_reasoner(folder, settings)


def load_actor(folder: Path, settings: Any) -> Any:
    """Return the actor of a folder."""
    return module_of(folder).load_actor(folder, settings)


def facts(folder: Path) -> FolderFacts:
    """Return what a folder says of itself."""
    from efficient_vla.lerobot.describe import facts_of

    return facts_of(folder, kind_of(folder))
