# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera images as OpenVLA was trained on them: size, crop, and two ways to normalise them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

FILTERS = {
    'bicubic': Image.Resampling.BICUBIC,
    'bilinear': Image.Resampling.BILINEAR,
    'lanczos': Image.Resampling.LANCZOS,
}
STRATEGIES = ('resize-naive', 'letterbox', 'resize-crop')


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What ``preprocessor_config.json`` says of the images of both towers."""

    size: int
    """Side of the square that the towers see [pixels]."""
    strategy: str
    """How another shape becomes a square: one of ``STRATEGIES``."""
    interpolation: str
    means: tuple[tuple[float, ...], ...]
    """Of intensities from 0 to 1, one triple a tower."""
    stds: tuple[tuple[float, ...], ...]


def square(image: np.ndarray, spec: ImageSpec, crop: float) -> np.ndarray:
    """Return uint8 [rows, columns, 3] as the square that the towers see, uint8 [S, S, 3].

    ``crop`` is the share of the area, in the middle, that is enlarged to the whole; 1 is all.
    """
    picture = Image.fromarray(image)
    if spec.strategy == 'letterbox':
        picture = _letterboxed(picture, spec.means[-1])
    filtering, size = FILTERS[spec.interpolation], spec.size
    if spec.strategy == 'resize-naive':
        picture = picture.resize((size, size), filtering)
    else:
        short = min(picture.size)
        width, height = (int(size * side / short) for side in picture.size)
        picture = picture.resize((width, height), filtering)
        left, top = (round((side - size) / 2) for side in (width, height))
        picture = picture.crop((left, top, left + size, top + size))
    seen = np.asarray(picture)
    return seen if crop == 1 else central(seen, crop)


def pixels(seen: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Return the square [S, S, 3] normalised for each tower, float32 [6, S, S]."""
    planes = np.moveaxis(seen, -1, 0).astype(np.float32) / 255
    towers = zip(spec.means, spec.stds, strict=True)
    return np.concatenate([(planes - _column(mean)) / _column(std) for mean, std in towers])


def central(image: np.ndarray, share: float) -> np.ndarray:
    """Return the middle ``share`` of a square's area in its size, uint8 [S, S, 3].

    Bilinear, with corners on corners, and rounded as TensorFlow does, which the policies saw.
    """
    size, side = len(image), math.sqrt(share)
    place = (size - 1) * ((1 - side) / 2 + np.linspace(0, side, size, dtype=np.float32))
    low = np.minimum(place.astype(int), size - 2)
    part = (place - low).astype(np.float32)
    rows = image[low] + part[:, None, None] * (image[low + 1].astype(np.float32) - image[low])
    mixed = rows[:, low] + part[:, None] * (rows[:, low + 1] - rows[:, low])
    return (mixed * np.float32(255.5 / 255)).clip(0, 255).astype(np.uint8)


def _letterboxed(picture: Image.Image, mean: Sequence[float]) -> Image.Image:
    """Return the picture with an equal border on both sides of its shorter direction."""
    side = max(picture.size)
    across, down = ((side - length) // 2 for length in picture.size)
    fill = tuple(int(255 * value) for value in mean)
    whole = Image.new('RGB', (picture.width + 2 * across, picture.height + 2 * down), fill)
    whole.paste(picture, (across, down))
    return whole


def _column(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(3, 1, 1)
