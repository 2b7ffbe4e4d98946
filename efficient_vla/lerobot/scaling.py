# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of a dataset, and how features are normalised by them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from efficient_vla.errors import CheckpointError
from efficient_vla.lerobot.features import EMPTY_CAMERA, Feature, Features
from efficient_vla.lerobot.weights import Tensors
from efficient_vla.settings import InvalidSettingError

NEEDED = {
    'IDENTITY': (),
    'MEAN_STD': ('mean', 'std'),
    'MIN_MAX': ('min', 'max'),
    'QUANTILES': ('q01', 'q99'),
    'QUANTILE10': ('q10', 'q90'),
}
"""Mode -> the two statistics that it reads."""
NAMED = 6
"""Features that a message lists."""
GROUPED = re.compile(r'(?P<group>.*?)[._]buffer[._](?P<key>.+)')


class Scaling(NamedTuple):
    """How one feature is normalised; ``low`` and ``high`` are mean and std of MEAN_STD."""

    mode: str
    low: torch.Tensor
    high: torch.Tensor
    eps: float

    def normalise(self, value: torch.Tensor) -> torch.Tensor:
        """Return units of the robot as the policy sees them."""
        # In numpy, which is done with an image before threads of torch are awake.
        made = value.numpy() - self.low.numpy()
        if self.mode == 'MEAN_STD':
            made /= (self.high + self.eps).numpy()
        else:
            made *= 2
            made /= self._width.numpy()
            made -= 1
        return torch.from_numpy(made)

    def restore(self, value: torch.Tensor) -> torch.Tensor:
        """Return what the policy gives in units of the robot."""
        if self.mode == 'MEAN_STD':
            return value * self.high + self.low
        return (value + 1) / 2 * self._width + self.low

    @property
    def _width(self) -> torch.Tensor:
        width = self.high - self.low
        return torch.where(width == 0, torch.tensor(self.eps), width)


class Statistics(NamedTuple):
    """Statistics by feature, of one dataset or of several."""

    path: Path
    """The file that they stand in."""
    tensors: Tensors
    names: Mapping[str, Mapping[tuple[str, str], str]]
    """Group, '' for none -> (feature, statistic) -> name of the tensor."""

    def scaling(
        self, key: str, feature: Feature, mode: str, eps: float, unnorm_key: str
    ) -> Scaling | None:
        """Return how a feature is normalised, ``None`` for not at all.

        Raises ``CheckpointError`` where a statistic is missing or does not fit the feature, and
        ``InvalidSettingError`` for a group that there is not.
        """
        if mode == 'IDENTITY':
            return None
        group = self._group(unnorm_key)
        low, high = (self._value(group, key, feature, mode, name) for name in NEEDED[mode])
        wrong = bool((high < 0).any()) if mode == 'MEAN_STD' else bool((high < low).any())
        if wrong:
            first, second = NEEDED[mode]
            fault = f'{second} below 0' if mode == 'MEAN_STD' else f'{second} below {first}'
            raise CheckpointError(
                f'{self.path} holds statistics of {key} with {fault}; expected none. Copy the '
                'file again.'
            )
        return Scaling(mode, low, high, eps)

    def _group(self, unnorm_key: str) -> str:
        groups = sorted(group for group in self.names if group)
        if unnorm_key and unnorm_key not in groups:
            known = f'one of {", ".join(groups)}' if groups else "'', since they are in no groups"
            raise InvalidSettingError(
                f'unnorm_key is {unnorm_key!r}; expected {known}, as {self.path} has statistics.'
            )
        return unnorm_key

    def _value(
        self, group: str, key: str, feature: Feature, mode: str, statistic: str
    ) -> torch.Tensor:
        name = self.names.get(group, {}).get((key, statistic))
        if name is None:
            raise CheckpointError(self._lacks(key, mode, statistic))
        value = self.tensors[name]
        expected = (feature.shape[0], 1, 1) if feature.kind == 'VISUAL' else feature.shape
        if feature.kind == 'VISUAL' and value.ndim == 1:
            value = value.reshape(-1, 1, 1)
        if tuple(value.shape) != expected:
            raise CheckpointError(
                f'{self.path} holds {name} of shape {list(value.shape)}; expected '
                f'{list(expected)}, as the feature {key} has. Use files of one training.'
            )
        return value

    def _lacks(self, key: str, mode: str, statistic: str) -> str:
        groups = sorted(group for group in self.names if group)
        if groups:
            return (
                f'{self.path} holds statistics in groups, {", ".join(groups)}; expected one that '
                f'has {statistic} of {key}, which {mode} reads. Name the dataset whose robot is '
                'yours by the parameter unnorm_key.'
            )
        found = sorted({feature for feature, _ in self.names.get('', {})})
        found = [*found[:NAMED], 'others'] if len(found) > NAMED else found
        return (
            f'{self.path} lacks {statistic} of {key}, which {mode} reads; it has statistics of '
            f'{", ".join(found) or "nothing"}. Save the processors again with the statistics of '
            'the dataset, or copy the file of this policy.'
        )


def statistics(path: Path, tensors: Tensors, features: Features) -> Statistics:
    """Return the statistics in a processor's state file, ``<feature>.<statistic>``.

    Older files have ``<group>.buffer.<feature>.<statistic>``, their features with every '_' as '.'.
    """
    return Statistics(path, tensors, grouped(tensors, features, plain=True))


def grouped(
    names: Iterable[str], features: Features, plain: bool
) -> dict[str, dict[tuple[str, str], str]]:
    """Return (feature, statistic) -> name, by group; ``plain`` names need no ``buffer``."""
    known = {_joined(key): key for key in features}
    found: dict[str, dict[tuple[str, str], str]] = {}
    for name in names:
        begin, _, statistic = name.rpartition('.')
        match = GROUPED.fullmatch(f'.{begin}')
        if match is None and not plain:
            continue
        group, key = match.group('group', 'key') if match else ('', begin)
        key = key if key in features else known.get(_joined(key), key)
        found.setdefault(group.strip('._'), {})[key, statistic] = name
    return found


def _joined(key: str) -> str:
    return key.replace('.', '_')


def needs_statistics(key: str, feature: Feature) -> bool:
    """Return whether a feature ever has values; an empty camera has none."""
    return not (feature.kind == 'VISUAL' and key.startswith(EMPTY_CAMERA))
