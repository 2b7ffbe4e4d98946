# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Policy folders as LeRobot writes them, and what LeRobot computes from them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FIXTURES = Path(__file__).resolve().parent / 'fixtures/lerobot'
FOLDERS = tuple(sorted(path.parent.name for path in FIXTURES.glob('*/reference.npz')))


def reference(name: str) -> dict[str, np.ndarray]:
    """Return what LeRobot was given and made, stage by stage."""
    with np.load(FIXTURES / name / 'reference.npz') as file:
        return dict(file)


def observation(name: str) -> dict[str, Any]:
    """Return what the robot gave."""
    found = reference(name)
    seen: dict[str, Any] = {
        key.removeprefix('input.'): value
        for key, value in found.items()
        if key.startswith('input.observation.')
    }
    return seen | {'task': str(found['input.task'])}


def rewrite(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON file in place."""
    path = folder / name
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def normalise_by(folder: Path, modes: dict[str, str]) -> None:
    """Let every file of a folder say that features of a kind are normalised so."""

    def change(file: Any) -> None:
        maps = [file['normalization_mapping']] if 'normalization_mapping' in file else []
        maps += [step['config'].get('norm_map', {}) for step in file.get('steps', ())]
        for found in filter(None, maps):
            found |= modes

    for name in ('config.json', 'policy_preprocessor.json', 'policy_postprocessor.json'):
        rewrite(folder, name, change)
