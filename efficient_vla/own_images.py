# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera images as the processor of a vision-language model prepares them; this loads no torch.

SmolVLM and Idefics3 cut an image into tiles and add the image as a whole; Qwen-VL keeps its shape,
in whole tokens. Both follow from the shape of the image alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from efficient_vla.types import InvalidRecordError, grid_map

Shape = tuple[int, int]
"""Rows and columns."""
WHOLE: Shape = (0, 0)
"""Tiles of an image that is not cut."""
MOST_STRETCHED = 200
"""Ratio of the sides from which on Qwen-VL takes no image."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What becomes of images of one shape."""

    sizes: tuple[Shape, ...]
    """To which they are resized, one after the other [pixels]."""
    view: Shape
    """Size of each picture that the vision tower is given [pixels]."""
    tiles: Shape = WHOLE
    """In how many pictures the last size is cut; the image as a whole follows them."""

    @property
    def views(self) -> int:
        """Pictures of one image."""
        return self.tiles[0] * self.tiles[1] + 1


@dataclass(frozen=True, slots=True)
class OwnImages:
    """How one model's processor prepares images of the shape that a policy was trained on."""

    cut_of: Callable[[Shape], Cut]
    resample: int
    """Filter, as Pillow numbers them."""
    shape: Shape
    """Of the camera's images in training."""

    @property
    def cut(self) -> Cut:
        """What became of images in training."""
        return self.cut_of(self.shape)

    def views(self, image: np.ndarray) -> list[np.ndarray]:
        """Return the pictures of uint8 [rows, columns, 3]: tiles row by row, then the whole.

        Raises ``InvalidRecordError`` for an image that gives others than in training.
        """
        cut, known = self.cut_of(image.shape[:2]), self.cut
        if (cut.view, cut.tiles) != (known.view, known.tiles):
            raise InvalidRecordError(
                f'image of a camera has {image.shape[0]} rows and {image.shape[1]} columns, of '
                f'which the model makes {_told(cut)}; expected {_told(known)}, as of the '
                f'{self.shape[0]} x {self.shape[1]} of training. Set the camera to that size.'
            )
        picture = Image.fromarray(image)
        for rows, columns in cut.sizes:
            picture = picture.resize((columns, rows), Image.Resampling(self.resample))
        large = np.asarray(picture)
        if cut.tiles == WHOLE:
            return [large]
        (rows, columns), (down, across) = cut.view, cut.tiles
        tiles = large.reshape(down, rows, across, columns, 3).swapaxes(1, 2)
        whole = picture.resize((columns, rows), Image.Resampling(self.resample))
        return [*tiles.reshape(-1, rows, columns, 3), np.asarray(whole)]


def tiled(shape: Shape, first: Shape | int, tile: int, split: bool) -> Cut:
    """Return the cut of SmolVLM and Idefics3 into squares of ``tile``.

    ``first`` is the longer side of the image before, or both. Images that fit into one square, and
    all without ``split``, are that square.
    """

    def tiles(length: int) -> int:
        return math.ceil(length / tile) * tile

    square = (tile, tile)
    size = first if isinstance(first, tuple) else _fitted(shape, lambda _: first, _even)
    if not split:
        return Cut((size, square), square)
    large = _fitted(size, tiles, tiles)
    cut = WHOLE if large == square else (large[0] // tile, large[1] // tile)
    return Cut((size, large), square, cut)


def in_tokens(shape: Shape, token: int, least: int, most: int) -> Cut:
    """Return the cut of Qwen-VL: sides are multiples of ``token``, pixels ``least`` to ``most``.

    Raises ``InvalidRecordError`` for an image that is too narrow.
    """
    rows, columns = shape
    if max(shape) > MOST_STRETCHED * min(shape):
        raise InvalidRecordError(
            f'image of a camera has {rows} rows and {columns} columns; expected one side to be at '
            f'most {MOST_STRETCHED} times the other. Use another camera.'
        )
    size = round(rows / token) * token, round(columns / token) * token
    if math.prod(size) > most:
        ratio = math.sqrt(rows * columns / most)
        size = (
            max(token, math.floor(rows / ratio / token) * token),
            max(token, math.floor(columns / ratio / token) * token),
        )
    elif math.prod(size) < least:
        ratio = math.sqrt(least / (rows * columns))
        size = (
            math.ceil(rows * ratio / token) * token,
            math.ceil(columns * ratio / token) * token,
        )
    return Cut((size,), size)


def token_grid(patches: Shape, tokens: int) -> Shape:
    """Return rows and columns of a picture's tokens, each of which is a square of patches."""
    side = math.isqrt(patches[0] * patches[1] // tokens)
    return patches[0] // side, patches[1] // side


def token_map(count: int, grid: Shape, tiles: Shape) -> dict[str, Any]:
    """Return the map of ``VisualTokens``, grid included, for all ``count`` tokens of a frame.

    ``grid`` is that of one picture. That of a camera is all of its tiles, where a token of the
    image as a whole stands in the middle of what it sees.
    """
    found = grid_map(count, grid)
    down, across = tiles
    views = down * across + 1
    camera, view = np.divmod(found['camera'], views)
    row, column = found['row'], found['column']
    if views > 1:
        whole = view == views - 1
        row = np.where(whole, row * down + down // 2, view // across * grid[0] + row)
        column = np.where(whole, column * across + across // 2, view % across * grid[1] + column)
        grid = grid[0] * down, grid[1] * across
    return found | {'camera': camera, 'row': row, 'column': column, 'grid': grid}


def _fitted(shape: Shape, longer: Callable[[int], int], shorter: Callable[[int], int]) -> Shape:
    """Return both sides changed, the shorter one after it has followed the longer one."""
    rows, columns = shape
    ratio = columns / rows
    if columns >= rows:
        columns = longer(columns)
        return shorter(int(columns / ratio)), columns
    rows = longer(rows)
    return rows, shorter(int(rows * ratio))


def _even(length: int) -> int:
    return max(1, length + length % 2)


def _told(cut: Cut) -> str:
    rows, columns = cut.view
    if cut.tiles == WHOLE:
        return f'one picture of {rows} x {columns}'
    return f'{cut.tiles[0]} x {cut.tiles[1]} tiles of {rows} x {columns}'
