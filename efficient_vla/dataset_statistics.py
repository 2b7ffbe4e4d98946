# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The statistics by which OpenVLA and NORA scale states and actions, one group a dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError
from efficient_vla.settings import InvalidSettingError

FILE = 'dataset_statistics.json'
LIMITS = {'bounds_q99': ('q01', 'q99'), 'bounds': ('min', 'max')}
"""Normalisation -> what becomes -1 and 1."""
EPS = 1e-8


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of a robot <-> -1 to 1."""

    low: np.ndarray
    """float64, [A]."""
    high: np.ndarray
    mask: np.ndarray
    """bool, [A]; columns that are false stay as they are, such as a gripper from 0 to 1."""

    def __len__(self) -> int:
        return len(self.low)

    def normalised(self, values: np.ndarray) -> np.ndarray:
        """Return numbers of the robot from -1 to 1, beyond which they are clipped, float32."""
        scaled = 2 * (values - self.low) / (self.high - self.low + EPS) - 1
        return np.where(self.mask, scaled, values).clip(-1, 1).astype(np.float32)

    def restored(self, values: np.ndarray) -> np.ndarray:
        """Return normalised numbers [..., A] in those of the robot, float32."""
        restored = 0.5 * (values + 1) * (self.high - self.low) + self.low
        return np.where(self.mask, restored, values).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Group:
    """The statistics of one dataset."""

    action: Mapping[str, Scale]
    """Normalisation -> scale, for those of ``LIMITS`` whose statistics are there."""
    proprio: Mapping[str, Scale]
    """The same of the robot's state; empty where there is none."""


def read_groups(folder: Path, config: Mapping[str, Any]) -> dict[str, Group]:
    """Return dataset -> its statistics, from the file beside the model or its configuration.

    Raises ``CheckpointError`` where there are none, or numbers do not fit.
    """
    file = folder / FILE
    path = file if file.is_file() else folder / 'config.json'
    found = read_json(file) if file.is_file() else config.get('norm_stats')
    if not isinstance(found, dict) or not found:
        raise CheckpointError(
            f'{path} has no statistics (norm_stats); expected those that actions are scaled by. '
            f'Copy {FILE} of the training run beside it.'
        )
    groups = {}
    for name, group in found.items():
        parts = [group.get(part) if isinstance(group, dict) else None for part in _PARTS]
        if not isinstance(parts[0], dict):
            raise CheckpointError(
                f'{path} has no statistics of actions for {name!r}; expected an object action. '
                'Copy the checkpoint again.'
            )
        action, proprio = (
            _scales(f'{path}: {name}.{part}', told)
            for part, told in zip(_PARTS, parts, strict=True)
        )
        groups[name] = Group(action, proprio)
    return groups


_PARTS = ('action', 'proprio')


def choose(groups: Mapping[str, Group], key: str, folder: Path) -> Group:
    """Return the group named ``key``; with an empty one, the only one that there is.

    Raises ``InvalidSettingError`` where that is none or several.
    """
    if not key and len(groups) == 1:
        return next(iter(groups.values()))
    if key not in groups:
        raise InvalidSettingError(
            f'unnorm_key is {key!r}, while {folder} has statistics of {", ".join(sorted(groups))}. '
            'Set unnorm_key to the one whose robot this is.'
        )
    return groups[key]


def scale_of(scales: Mapping[str, Scale], bounds: str, what: str, folder: Path) -> Scale:
    """Return the scale of one normalisation; raises ``CheckpointError`` where it is missing."""
    if bounds not in scales:
        raise CheckpointError(
            f'{folder} has no statistics {" and ".join(LIMITS[bounds])} of {what}; expected them '
            f'for {bounds}. Choose another group by unnorm_key.'
        )
    return scales[bounds]


def _scales(place: str, told: Any) -> dict[str, Scale]:
    """Return the scale of each normalisation whose statistics are there."""
    if not isinstance(told, dict):
        return {}
    scales = {}
    for bounds, names in LIMITS.items():
        if not all(name in told for name in names):
            continue
        try:
            low, high = (np.asarray(told[name], np.float64) for name in names)
            mask = np.asarray(told.get('mask', np.ones(low.shape, bool)))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f'{place} is no list: {error}. Copy it again.') from error
        fits = low.ndim == 1 and len(low) and low.shape == high.shape == mask.shape
        if not fits or mask.dtype != bool:
            raise CheckpointError(
                f'{place} has {" and ".join(names)} of shapes {low.shape} and {high.shape} and a '
                f'mask of shape {mask.shape}; expected one number and one truth value a column. '
                'Copy it again.'
            )
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
            raise CheckpointError(
                f'{place} has {names[0]} {low.tolist()} and {names[1]} {high.tolist()}; expected '
                'finite numbers, the first no greater than the second. Copy it again.'
            )
        scales[bounds] = Scale(low, high, mask)
    return scales
