# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy folder of LeRobot beside what LeRobot's own class made of the same observation.

``reference.npz`` in the folder holds ``input.*`` as the robot gave it, ``input.noise``,
``processed.*``, the normalised ``chunk``, ``actions`` in the units of the dataset, and by other
names what the policy computes on its way. All is compared in float32.
"""

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from efficient_vla import lerobot
from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.folder import open_folder

REFERENCE, INPUT, PROCESSED = 'reference.npz', 'input.', 'processed.'
NEEDED = ('chunk', 'actions', 'input.task')
PREFIX = 'prefix.'
FLAGS = (f'{PREFIX}padding', f'{PREFIX}blocks')
"""What has one value a row."""
LIMIT = 1e-4
"""Largest error that rounding explains; a wrong policy is wrong by far more."""


def parity(folder: Path) -> dict[str, Any]:
    """Return how far this package is from the reference in a folder.

    ``max_error`` is that of the normalised chunk; ``errors`` has all names that both have, and
    ``uncompared`` those of the reference alone. A tokenizer is also looked for in ``hub`` beside
    the folder. Raises ``CheckpointError`` where folder or reference is damaged.
    """
    expected = _reference(folder / REFERENCE)
    seen: dict[str, Any] = {
        name.removeprefix(INPUT): value
        for name, value in expected.items()
        if name.startswith(f'{INPUT}observation.')
    }
    noise = expected.get(f'{INPUT}noise')
    with _cache_beside(folder), torch.inference_mode():
        opened = open_folder(folder)
        batch = opened.preprocess(seen | {'task': str(expected[f'{INPUT}task'])})
        drawn = None if noise is None else torch.from_numpy(noise)
        found: dict[str, Any] = lerobot.module_of(folder).replay(opened, batch, drawn)
        found['actions'] = opened.postprocess(found['chunk'], batch)
    found |= {f'{PROCESSED}{name}': value for name, value in batch.items()}
    expected = _seen(expected)
    outputs = {name for name in expected if not name.startswith(INPUT)}
    errors = {name: _error(expected[name], found[name]) for name in sorted(outputs & found.keys())}
    return {
        'folder': str(folder),
        'policy_type': opened.type,
        'max_error': errors['chunk'],
        'errors': errors,
        'uncompared': sorted(outputs - found.keys()),
    }


def _seen(expected: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the reference without the rows of a prefix that nobody sees, which are not computed.

    ``prefix.padding`` [1, N] says which rows count, those of other names have them second to last.
    """
    seen = dict(expected)
    rows = np.flatnonzero(expected.get(f'{PREFIX}padding', np.zeros(0)))
    for name in expected:
        if name.startswith(PREFIX):
            axis = expected[name].ndim - (1 if name in FLAGS else 2)
            seen[name] = expected[name].take(rows, axis)
    return seen


def _reference(path: Path) -> Mapping[str, np.ndarray]:
    """Return the arrays of the reference."""
    try:
        with np.load(path) as file:
            found = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f'{path} cannot be read: {error}. Give a folder with what LeRobot made of one '
            'observation, as test/fixtures/lerobot has it.'
        ) from error
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise CheckpointError(
            f'{path} lacks {", ".join(missing)}; expected {", ".join(NEEDED)}. Write it again.'
        )
    return found


def _error(expected: np.ndarray, found: torch.Tensor) -> float:
    """Return the largest difference, infinite for another shape or numbers that are none."""
    values = found.float().numpy()
    if values.shape != expected.shape:
        return float('inf')
    difference = np.abs(values - expected.astype(np.float32))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


@contextmanager
def _cache_beside(folder: Path) -> Iterator[None]:
    """Let the Hugging Face cache be ``hub`` beside the folder, where there is one."""
    beside, name = folder.resolve().parent / 'hub', 'HF_HUB_CACHE'
    before = os.environ.get(name)
    if beside.is_dir():
        os.environ[name] = str(beside)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
