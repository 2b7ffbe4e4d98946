# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of `efficient-vla bench tokens`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tokens.cost import finished

Row = Mapping[str, Any]
DENSE_COLOR = '#1c2026'
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
"""A method has the same one in all panels, so that a label in a crowd finds its point."""
SHAPE_COLORS = ('#2f6db3', '#c06a1f', '#1a8f55', '#8a4fb0')
LABEL_SIZE = 8.5
REACHES = tuple(range(12, 190, 7))
"""Distances in points at which a label is tried, nearest first."""
ANGLES = tuple(range(0, 360, 15))
PAD = 2.5


def plot_success(path: Path, rows: Sequence[Row]) -> bool:
    """Draw success against latency, one point a method, a panel for each keep and for the others.

    ``rows`` are those of the part ``methods``. Returns whether there was something to draw.
    """
    rows = [row for row in rows if finished(row)]
    panels = _panels(rows)
    if not panels:
        return False
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(5.6 * len(panels), 5.2), sharey=True, squeeze=False
    )
    dense = [row for row in rows if row['kind'] == 'dense']
    names = list(dict.fromkeys(_short(row) for row in rows if row['kind'] != 'dense'))
    colors = {name: COLORS[index % len(COLORS)] for index, name in enumerate(names)}
    shown = [row for _, members in panels for row in members] + dense
    low = min(row['ci_low'] for row in shown)
    for axis, (title, members) in zip(axes[0], panels, strict=True):
        axis.set(title=title, xlabel='latency of perception and reasoner, dense = 1')
        axis.grid(alpha=0.25)
        axis.set_ylim(max(-0.02, low - 0.2 * (1 - low) - 0.05), 1.03)
        ratios = [row['plan_ratio'] for row in members + dense]
        span = max(ratios) - min(ratios) + 0.15
        axis.set_xlim(min(ratios) - 0.3 * span, max(ratios) + 0.3 * span)
        for row in members + dense:
            color = colors.get(_short(row), DENSE_COLOR)
            axis.plot(
                [row['plan_ratio']] * 2, (row['ci_low'], row['ci_high']), color=color, alpha=0.35
            )
            axis.plot(row['plan_ratio'], row['success_rate'], 'o', color=color, markersize=5)
    axes[0][0].set_ylabel('success, with 95 % interval')
    figure.tight_layout()
    for axis, (_, members) in zip(axes[0], panels, strict=True):
        points = [(row['plan_ratio'], row['success_rate'], row) for row in members + dense]
        _label(
            axis,
            [(x, y, _short(row), colors.get(_short(row), DENSE_COLOR)) for x, y, row in points],
            [(x, row['ci_low'], row['ci_high']) for x, _, row in points],
        )
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True


def plot_shapes(path: Path, rows: Sequence[Row]) -> bool:
    """Draw latency against keep and against reuse, as shares of dense.

    ``rows`` are those of the part ``shapes``. Returns whether there was something to draw.
    """
    if not rows:
        return False
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 5), sharey=True)
    kept, reused = axes
    names = list(dict.fromkeys((row['shape'], row['device']) for row in rows))
    colors: dict[str, str] = {}
    for index, (shape, device) in enumerate(names):
        color = colors[f'{shape} {device}'] = SHAPE_COLORS[index % len(SHAPE_COLORS)]
        mine = [row for row in rows if (row['shape'], row['device']) == (shape, device)]
        layers, whole = mine[0]['layers'], mine[0]['layers_of_model']
        label = f'{shape}, {layers} of {whole} layers, {mine[0]["dtype"]}'
        label += '' if device.startswith('cpu') else f', {device}'
        dense = [row for row in mine if row['mechanism'] == 'dense']
        for mechanism, style in (('drop before layer 0', '-'), ('drop before layer 2', '--')):
            line = [row for row in mine if row['mechanism'] == mechanism] + dense
            name = label if style == '-' else '_'
            _line(kept, line, 'keep', color, style, name)
        _line(reused, [row for row in mine if row['reuse'] is not None], 'reuse', color, '-', '_')
    dropped = [row for row in rows if row['mechanism'].startswith('drop')]
    _write_speeds(kept, dropped, 'keep', colors)
    _write_speeds(reused, [row for row in rows if row['reuse']], 'reuse', colors)
    ideal = np.linspace(0.1, 1, 50)
    kept.plot(ideal, ideal, color='#707882', linewidth=1, linestyle=':', label='share kept')
    reused.plot(1 - ideal, ideal, color='#707882', linewidth=1, linestyle=':')
    kept.set(
        xlabel='share of visual tokens kept (dashed: dropped after layer 2)',
        ylabel='latency, dense = 1',
        title='kept tokens',
        ylim=(0, 1.12 * max(row['ratio'] for row in rows)),
        xlim=(1.03, 0.08),
        xticks=(1, 0.5, 0.25, 0.125),
        xticklabels=('1', '0.5', '0.25', '0.125'),
    )
    reused.set(
        xlabel='share of visual tokens whose keys and values are reused', title='reused tokens'
    )
    reused.set_xticks((0, 0.5, 0.9))
    for axis in axes:
        axis.grid(alpha=0.25)
    figure.legend(loc='lower center', ncols=2, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.06 + 0.035 * ((len(names) + 1) // 2), 1, 1))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True


def load_pyplot() -> Any:
    """Return matplotlib's pyplot, which draws into files."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    return pyplot


def _panels(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    panels: list[tuple[str, list[Row]]] = []
    keeps = sorted({row['keep'] for row in rows if row['kind'] == 'pruning'}, reverse=True)
    for keep in keeps:
        members = [row for row in rows if row['kind'] == 'pruning' and row['keep'] == keep]
        panels.append((f'selectors, keep {keep:g}', members))
    others = [row for row in rows if row['kind'] not in ('pruning', 'dense')]
    if others:
        panels.append(('reuse, caches, resampling, compositions', others))
    return panels


def _short(row: Row) -> str:
    return str(row['method'] if row['kind'] == 'pruning' else row['name'])


def _line(axis: Any, rows: Sequence[Row], column: str, color: str, style: str, label: str) -> None:
    rows = sorted(rows, key=lambda row: row[column])
    x = [row[column] for row in rows]
    axis.plot(x, [row['ratio'] for row in rows], style, color=color, marker='o', label=label)


def _write_speeds(axis: Any, rows: Sequence[Row], column: str, colors: Mapping[str, str]) -> None:
    """Write how many times faster each shape is, stacked above the highest point at each place."""
    for place in sorted({row[column] for row in rows}):
        here = [row for row in rows if row[column] == place]
        top = max(row['ratio'] for row in here)
        fastest: dict[str, float] = {}
        for row in here:
            shape = f'{row["shape"]} {row["device"]}'
            fastest[shape] = max(fastest.get(shape, 0.0), 1 / row['ratio'])
        for index, (shape, speed) in enumerate(reversed(fastest.items())):
            axis.annotate(
                f'{speed:.1f}x',
                (place, top),
                (0, 8 + 12 * index),
                textcoords='offset points',
                ha='center',
                fontsize=LABEL_SIZE,
                color=colors[shape],
            )


def _label(
    axis: Any,
    points: Sequence[tuple[float, float, str, str]],
    bars: Sequence[tuple[float, float, float]],
) -> None:
    """Write names beside points where they hide no point, no bar and no other name.

    ``points`` are x, y, text and colour; ``bars`` are x and both ends. Every label takes the
    nearest free place, the points in the crowd first; a thin line leads to its point.
    """
    figure = axis.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72
    pixels = axis.transData.transform([(x, y) for x, y, _, _ in points])
    dots = [_box(x, y, 7 * scale, 7 * scale) for x, y in pixels]
    for x, low, high in bars:
        (left, bottom), (_, top) = axis.transData.transform([(x, low), (x, high)])
        dots.append(_box(left, (bottom + top) / 2, 3 * scale, top - bottom))
    frame = axis.get_window_extent(renderer)
    taken: list[tuple[float, float, float, float]] = []
    distance = np.abs(pixels[:, None] - pixels[None]).sum(-1)
    crowded = np.argsort(np.sort(distance, 1)[:, : min(4, len(points))].sum(1))
    for index in crowded:
        x, y = pixels[index]
        _, _, text, color = points[index]
        note = axis.text(0, 0, text, fontsize=LABEL_SIZE)
        extent = note.get_window_extent(renderer)
        note.remove()
        width, height = extent.width + 2 * PAD * scale, extent.height + 2 * PAD * scale
        place = _free_place((x, y), (width, height), scale, frame, dots + taken)
        taken.append(_box(*place, width, height))
        axis.annotate(
            text,
            points[index][:2],
            ((place[0] - x) / scale, (place[1] - y) / scale),
            textcoords='offset points',
            ha='center',
            va='center',
            fontsize=LABEL_SIZE,
            color=color,
            arrowprops={'arrowstyle': '-', 'color': color, 'alpha': 0.45, 'linewidth': 0.7},
        )


def _free_place(
    point: tuple[float, float],
    size: tuple[float, float],
    scale: float,
    frame: Any,
    taken: Sequence[tuple[float, float, float, float]],
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


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, width) * max(0.0, height)
