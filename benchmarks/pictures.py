# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One style for the pictures of all benchmarks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BLACK = '#1c2026'
GREY = '#707882'
COLORS = (
    '#2f6db3',
    '#c06a1f',
    '#1a8f55',
    '#c73c30',
    '#8a4fb0',
    '#7a5548',
    '#d05fa8',
    '#6b7480',
    '#8f8a14',
    '#1897a6',
    '#24418e',
    '#5f9e2f',
)
"""Told apart by most eyes; the first ones best."""
COUNT = 64
"""Colours of a picture, those of blurred edges among them."""
LABEL_SIZE = 8.5
REACHES = tuple(range(12, 190, 7))
"""Distances in points at which a label is tried, nearest first."""
ANGLES = tuple(range(0, 360, 15))
PAD = 2.5
Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


@contextmanager
def drawn(path: Path, rows: int, columns: int, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a figure and its axes [rows, columns] with a light grid, and write them at the end.

    ``options`` are those of ``pyplot.subplots``.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.grid(alpha=0.25)
    try:
        yield figure, axes
        figure.savefig(path, dpi=120)
        to_palette(path)
    finally:
        pyplot.close(figure)


def to_palette(path: Path) -> None:
    """Write a picture again with few colours, in half the bytes."""
    image = Image.open(path).convert('RGB')
    made = image.quantize(COUNT, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    made.save(path, optimize=True)


def colors_of(names: Any) -> dict[Any, str]:
    """Return name -> colour, in the order of their first use."""
    return {name: COLORS[i % len(COLORS)] for i, name in enumerate(dict.fromkeys(names))}


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval and its name."""

    x: float
    y: float
    low: float
    high: float
    name: str
    color: str


def success_point(x: float, row: Mapping[str, Any], name: str, color: str) -> Point:
    """Return the success rate of a row over ``x``."""
    return Point(x, row['success_rate'], row['ci_low'], row['ci_high'], name, color)


def draw(axis: Any, points: Sequence[Point], line: bool = False, **options: Any) -> None:
    """Draw points with their intervals, and a line through them where asked for."""
    for point in points:
        axis.plot([point.x] * 2, (point.low, point.high), color=point.color, alpha=0.35)
    for some in [points] if line else [[point] for point in points]:
        x, y = [point.x for point in some], [point.y for point in some]
        color = some[0].color
        axis.plot(x, y, '-' if line else '', color=color, marker='o', markersize=5, **options)


def legend_below(figure: Any, lines: int, columns: int, **options: Any) -> None:
    """Write one legend of so many lines below all axes, and fit the axes above it."""
    figure.legend(loc='lower center', ncols=columns, frameon=False, fontsize=LABEL_SIZE, **options)
    figure.tight_layout(rect=(0, (0.22 + 0.18 * lines) / figure.get_figheight(), 1, 1))


def label(axis: Any, points: Sequence[Point]) -> None:
    """Write names beside points where they hide no point, no interval and no other name.

    To be called when the figure has its final layout. Every label takes the nearest free place,
    the points in the crowd first; a thin line leads to its point.
    """
    figure = axis.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72
    pixels = axis.transData.transform([(p.x, p.y) for p in points])
    dots = [_box(x, y, 7 * scale, 7 * scale) for x, y in pixels]
    for point in points:
        ends = axis.transData.transform([(point.x, point.low), (point.x, point.high)])
        (left, bottom), (_, top) = ends
        dots.append(_box(left, (bottom + top) / 2, 3 * scale, top - bottom))
    frame = axis.get_window_extent(renderer)
    taken: list[Box] = []
    distance = np.abs(pixels[:, None] - pixels[None]).sum(-1)
    crowded = np.argsort(np.sort(distance, 1)[:, : min(4, len(points))].sum(1))
    for index in crowded:
        x, y = pixels[index]
        point = points[index]
        note = axis.text(0, 0, point.name, fontsize=LABEL_SIZE)
        extent = note.get_window_extent(renderer)
        note.remove()
        width, height = extent.width + 2 * PAD * scale, extent.height + 2 * PAD * scale
        place = _free_place((x, y), (width, height), scale, frame, dots + taken)
        taken.append(_box(*place, width, height))
        axis.annotate(
            point.name,
            (point.x, point.y),
            ((place[0] - x) / scale, (place[1] - y) / scale),
            textcoords='offset points',
            ha='center',
            va='center',
            fontsize=LABEL_SIZE,
            color=point.color,
            arrowprops={'arrowstyle': '-', 'color': point.color, 'alpha': 0.45, 'linewidth': 0.7},
        )


def _free_place(
    point: tuple[float, float],
    size: tuple[float, float],
    scale: float,
    frame: Any,
    taken: Sequence[Box],
) -> tuple[float, float]:
    """Return the centre of the nearest box of ``size`` inside the frame that touches no other."""
    best, least = (point[0], point[1]), np.inf
    for reach in REACHES:
        for angle in ANGLES:
            turn = np.deg2rad(angle)
            # A label is wider than high: beside a point it starts further away than above it.
            x = point[0] + np.cos(turn) * (reach * scale + size[0] / 2)
            y = point[1] + np.sin(turn) * (reach * scale + size[1] / 2)
            box = _box(x, y, *size)
            inside = (
                box[0] > frame.x0 and box[2] < frame.x1 and box[1] > frame.y0 and box[3] < frame.y1
            )
            if not inside:
                continue
            overlap = sum(_overlap(box, other) for other in taken)
            if overlap == 0:
                return x, y
            if overlap < least:
                best, least = (x, y), overlap
    return best


def _box(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, width) * max(0.0, height)
