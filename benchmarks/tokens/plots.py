# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of `efficient-vla bench tokens`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pictures import (
    BLACK,
    GREY,
    LABEL_SIZE,
    colors_of,
    draw,
    drawn,
    label,
    legend_below,
    success_point,
)
from benchmarks.tokens.published import cost, described

Row = Mapping[str, Any]


def plot_success(path: Path, rows: Sequence[Row]) -> bool:
    """Draw success against latency, one point a method, a panel for each keep and for the others.

    ``rows`` are those of the part ``methods``. Returns whether there was something to draw.
    """
    rows = [described(row) for row in rows]
    panels = _panels(rows)
    if not panels:
        return False
    dense = [row for row in rows if row['kind'] == 'dense']
    others = (_short(row) for row in rows if row['kind'] != 'dense')
    colors = {_short(row): BLACK for row in dense} | colors_of(others)
    shown = [row for _, members in panels for row in members] + dense
    low = min(row['ci_low'] for row in shown)
    size = (5.6 * len(panels), 5.2)
    with drawn(path, 1, len(panels), figsize=size, sharey=True) as (figure, axes):
        found = []
        for axis, (title, members) in zip(axes[0], panels, strict=True):
            axis.set(title=title, xlabel='latency of perception and reasoner, dense = 1')
            axis.set_ylim(max(-0.02, low - 0.2 * (1 - low) - 0.05), 1.03)
            ratios = [cost(row, 'plan') for row in members + dense]
            span = max(ratios) - min(ratios) + 0.15
            axis.set_xlim(min(ratios) - 0.3 * span, max(ratios) + 0.3 * span)
            found.append(
                [
                    success_point(cost(row, 'plan'), row, _short(row), colors[_short(row)])
                    for row in members + dense
                ]
            )
            draw(axis, found[-1])
        axes[0][0].set_ylabel('success, with 95 % interval')
        figure.tight_layout()
        for axis, points in zip(axes[0], found, strict=True):
            label(axis, points)
    return True


def plot_shapes(path: Path, rows: Sequence[Row]) -> bool:
    """Draw latency against keep and against reuse, as shares of dense.

    ``rows`` are those of the part ``shapes``. Returns whether there was something to draw.
    """
    if not rows:
        return False
    colors = colors_of((row['shape'], row['device']) for row in rows)
    with drawn(path, 1, 2, figsize=(12, 5), sharey=True) as (figure, axes):
        kept, reused = axes[0]
        for (shape, device), color in colors.items():
            mine = [row for row in rows if (row['shape'], row['device']) == (shape, device)]
            layers, whole = mine[0]['layers'], mine[0]['layers_of_model']
            words = f'{shape}, {layers} of {whole} layers, {mine[0]["dtype"]}'
            words += '' if device.startswith('cpu') else f', {device}'
            dense = [row for row in mine if row['mechanism'] == 'dense']
            for mechanism, style in (('drop before layer 0', '-'), ('drop before layer 2', '--')):
                line = [row for row in mine if row['mechanism'] == mechanism] + dense
                _line(kept, line, 'keep', color, style, words if style == '-' else '_')
            _line(reused, [r for r in mine if r['reuse'] is not None], 'reuse', color, '-', '_')
        dropped = [row for row in rows if row['mechanism'].startswith('drop')]
        _write_speeds(kept, dropped, 'keep', colors)
        _write_speeds(reused, [row for row in rows if row['reuse']], 'reuse', colors)
        ideal = np.linspace(0.1, 1, 50)
        kept.plot(ideal, ideal, color=GREY, linewidth=1, linestyle=':', label='share kept')
        reused.plot(1 - ideal, ideal, color=GREY, linewidth=1, linestyle=':')
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
            xlabel='share of visual tokens whose keys and values are reused',
            title='reused tokens',
            xticks=(0, 0.5, 0.9),
        )
        legend_below(figure, (len(colors) + 2) // 2, 2)
    return True


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


def _line(axis: Any, rows: Sequence[Row], column: str, color: str, style: str, name: str) -> None:
    rows = sorted(rows, key=lambda row: row[column])
    x = [row[column] for row in rows]
    axis.plot(x, [row['ratio'] for row in rows], style, color=color, marker='o', label=name)


def _write_speeds(
    axis: Any, rows: Sequence[Row], column: str, colors: Mapping[tuple[str, str], str]
) -> None:
    """Write how many times faster each shape is, stacked above the highest point at each place."""
    for place in sorted({row[column] for row in rows}):
        here = [row for row in rows if row[column] == place]
        top = max(row['ratio'] for row in here)
        fastest: dict[tuple[str, str], float] = {}
        for row in here:
            shape = row['shape'], row['device']
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
