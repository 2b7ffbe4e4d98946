# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How the processor of a model in the layout of transformers prepares images; without torch."""

import math
from functools import partial
from pathlib import Path
from typing import Any

from efficient_vla import cards
from efficient_vla.errors import CheckpointError
from efficient_vla.own_images import OwnImages, Shape, in_tokens, tiled
from efficient_vla.types import InvalidRecordError

TILED = ('smolvlm', 'idefics3')
"""``model_type`` of those whose images are cut into tiles."""
RECTANGULAR = ('qwen2_5_vl', 'qwen3_vl')
"""Of those whose images keep their shape; all others are given squares."""
LARGEST = 4096
"""Longest side of an image that is to be cut [pixels]; SmolVLM and Idefics3 have no more."""
MOST_PIXELS = LARGEST**2


def image_normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation a colour from the configuration of the model's processor.

    Raises ``CheckpointError`` where there is none, or images are prepared otherwise.
    """
    return _checked(*_settings(folder))


def own_images(folder: Path, kind: str, shape: tuple[int, ...]) -> OwnImages | None:
    """Return how the processor of a model prepares images of this shape; ``None`` without one.

    ``kind`` is the ``model_type``. Raises ``CheckpointError`` for models that are given squares,
    and where the configuration of the processor cannot be.
    """
    if not shape:
        return None
    rows, columns = shape
    if kind not in (*TILED, *RECTANGULAR):
        raise CheckpointError(
            f'{folder} has image_shape {list(shape)} with a model of type {kind}, whose processor '
            f'makes squares; expected one of {", ".join((*TILED, *RECTANGULAR))}. Leave '
            'image_shape out.'
        )
    path, found = _settings(folder)
    if found.get('do_resize', True) is not True:
        raise CheckpointError(
            f'{path} has do_resize {found["do_resize"]!r}; expected true. Use another model.'
        )
    resample = found.get('resample', 1 if kind in TILED else 3)
    if type(resample) is not int or not 0 <= resample <= 5:
        raise CheckpointError(
            f'{path} has resample {resample!r}; expected a number of a filter of Pillow, 0 to 5. '
            'Copy the whole folder of the model.'
        )
    cut = _tiles(path, found) if kind in TILED else _tokens(path, found)
    try:
        cut((rows, columns))
    except InvalidRecordError as error:
        raise CheckpointError(f'{folder} has image_shape {list(shape)}: {error}') from error
    return OwnImages(cut, resample, (rows, columns))


def _settings(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return what the processor says of images, and the file where it does."""
    for name in ('preprocessor_config.json', 'processor_config.json'):
        if (folder / name).exists():
            found = cards.read_json(folder / name)
            found = found.get('image_processor', found)
            if 'image_mean' in found and 'image_std' in found:
                return folder / name, found
    raise CheckpointError(
        f'{folder} has no preprocessor_config.json with image_mean and image_std. Copy the whole '
        'folder of the model.'
    )


def _tiles(path: Path, found: dict[str, Any]) -> partial:
    """Return ``tiled`` with the sizes of a processor of SmolVLM or Idefics3."""
    size = found.get('size', {'longest_edge': 4 * 364})
    largest = found.get('max_image_size', {'longest_edge': 364})
    split = found.get('do_image_splitting', True)
    tile = _whole(path, 'max_image_size', largest, 'longest_edge')
    first: Shape | int
    if isinstance(size, dict) and 'height' in size:
        first = _whole(path, 'size', size, 'height'), _whole(path, 'size', size, 'width')
    else:
        first = _whole(path, 'size', size, 'longest_edge')
    if type(split) is not bool:
        raise CheckpointError(
            f'{path} has do_image_splitting {split!r}; expected true or false. Copy the whole '
            'folder of the model.'
        )
    return partial(tiled, first=first, tile=tile, split=split)


def _tokens(path: Path, found: dict[str, Any]) -> partial:
    """Return ``in_tokens`` with the sizes of a processor of Qwen-VL."""
    said = {'shortest_edge': 56 * 56, 'longest_edge': 28 * 28 * 1280}
    size = said if found.get('size') is None else found['size']
    least, most = (
        _whole(path, 'size', size, edge, MOST_PIXELS)
        if found.get(older) is None
        else _whole(path, '', found, older, MOST_PIXELS)
        for edge, older in (('shortest_edge', 'min_pixels'), ('longest_edge', 'max_pixels'))
    )
    own = {'patch_size': 14, 'merge_size': 2} | found
    patch, merge = (_whole(path, '', own, name) for name in ('patch_size', 'merge_size'))
    if least > most:
        raise CheckpointError(
            f'{path} asks for images of at least {least} and at most {most} pixels; expected the '
            'first to be the smaller one. Correct size, or min_pixels and max_pixels.'
        )
    return partial(in_tokens, token=patch * merge, least=least, most=most)


def _whole(path: Path, group: str, values: Any, name: str, high: int = LARGEST) -> int:
    """Return a whole number above 0 of a group of the configuration."""
    value = values.get(name) if isinstance(values, dict) else None
    if type(value) is not int or not 1 <= value <= high:
        raise CheckpointError(
            f'{path} has {f"{group}.{name}".lstrip(".")} {value!r}; expected a whole number from 1 '
            f'to {high}. Copy the whole folder of the model.'
        )
    return value


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
