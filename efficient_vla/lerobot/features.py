# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a policy of LeRobot takes and gives, as ``config.json`` declares it."""

from collections.abc import Mapping
from typing import NamedTuple

from efficient_vla.lerobot.fields import Fields

STATE, ACTION, ENVIRONMENT = 'observation.state', 'action', 'observation.environment_state'
IMAGES = 'observation.images.'
EMPTY_CAMERA = f'{IMAGES}empty_camera_'
LARGEST_SIDE = 8192
KINDS = ('STATE', 'VISUAL', 'ENV', 'ACTION')


class Feature(NamedTuple):
    """One thing that goes in or comes out."""

    kind: str
    """One of ``KINDS``."""
    shape: tuple[int, ...]
    """Of images [3, rows, columns]."""


Features = Mapping[str, Feature]


def features_of(config: Fields, name: str) -> dict[str, Feature]:
    """Return the features under ``name``, in their order."""
    declared = config.part(name)
    found = {}
    for key in declared.values:
        said = declared.part(key)
        kind = said.word('type', choices=KINDS)
        rank = 3 if kind == 'VISUAL' else 1
        shape = said.integers('shape', rank)
        if kind == 'VISUAL' and (shape[0] != 3 or max(shape) > LARGEST_SIDE):
            raise said.error('shape', list(shape), f'[3, rows, columns] to {LARGEST_SIDE} pixels')
        found[key] = Feature(kind, shape)
    return found


def cameras_of(features: Features) -> dict[str, tuple[int, int]]:
    """Return rows and columns of all images that a robot may give, by key."""
    return {
        key: (feature.shape[1], feature.shape[2])
        for key, feature in features.items()
        if feature.kind == 'VISUAL' and not key.startswith(EMPTY_CAMERA)
    }


def camera_name(key: str) -> str:
    """Return the name of a camera for its key: 'top' for 'observation.images.top'."""
    return key.removeprefix(IMAGES).removeprefix('observation.')
