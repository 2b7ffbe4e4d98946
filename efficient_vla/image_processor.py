# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How the processor of a model in the layout of transformers prepares images; without torch."""

import math
from pathlib import Path
from typing import Any

from efficient_vla import cards
from efficient_vla.errors import CheckpointError


def image_normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation a colour from the configuration of the model's processor.

    Raises ``CheckpointError`` where there is none, or images are prepared otherwise.
    """
    for name in ('preprocessor_config.json', 'processor_config.json'):
        if (folder / name).exists():
            found = cards.read_json(folder / name)
            found = found.get('image_processor', found)
            if 'image_mean' in found and 'image_std' in found:
                return _checked(folder / name, found)
    raise CheckpointError(
        f'{folder} has no preprocessor_config.json with image_mean and image_std. Copy the whole '
        'folder of the model.'
    )


def _checked(path: Path, found: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation; raise ``CheckpointError`` where the model is given other images.

    A policy scales images to [0, 1] and normalises them, which a processor may be told not to do.
    """
    for name, expected in (
        ('do_rescale', True),
        ('do_normalize', True),
        ('rescale_factor', 1 / 255),
    ):
        value = found.get(name, expected)
        if not isinstance(value, (bool, float)) or not math.isclose(value, expected, rel_tol=1e-6):
            raise CheckpointError(
                f'{path} has {name} {value!r}; expected {expected!r}, as a policy prepares images. '
                'Use another model.'
            )
    for name in ('image_mean', 'image_std'):
        values, lowest = found[name], 0.0 if name == 'image_std' else -math.inf
        if (
            not isinstance(values, list)
            or len(values) != 3
            or not all(type(v) in (int, float) and math.isfinite(v) and v > lowest for v in values)
        ):
            raise CheckpointError(
                f'{path} has {name} {values!r}; expected a list of 3 finite numbers, with '
                'deviations above 0. Copy the whole folder of the model.'
            )
    return tuple(map(float, found['image_mean'])), tuple(map(float, found['image_std']))
