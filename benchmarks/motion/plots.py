# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of `efficient-vla bench motion`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.motion.conditions import BEST
from benchmarks.pictures import colors_of, draw, drawn, legend_below, success_point

Row = Mapping[str, Any]
SOURCES = {'policy': 'chunks of evla-nano', 'constant offset': 'chunks shifted by up to 2 cm'}
PANELS = (
    ('reference', 'max_jerk', 'max jerk of the reference, m/s^3', 'overlapped'),
    ('controller', 'max_jerk', 'max jerk through the controller, m/s^3', 'overlapped'),
    ('controller', 'tracking_rms_mm', 'distance to the motion without delay, mm', 'overlapped'),
    ('controller', 'idle', 'idle share, one chunk computed at a time', 'one at a time'),
)
"""Limits, column, title and trial of each panel; LeRobot, which has no limits, is in all."""


def plot_seams(path: Path, rows: Sequence[Row]) -> bool:
    """Draw jerk, tracking error and idle time against delay, a line a blending.

    ``rows`` are those of the parts ``seams`` and ``peer``; LeRobot's lines are dashed. Returns
    whether there was something to draw.
    """
    sources = [source for source in SOURCES if any(row['source'] == source for row in rows)]
    if not sources:
        return False
    colors = colors_of((row['part'], row['method']) for row in rows)
    size = (17, 3.6 * len(sources) + 1.2)
    with drawn(path, len(sources), len(PANELS), figsize=size) as (figure, axes):
        handles: dict[str, Any] = {}
        for line, source in zip(axes, sources, strict=True):
            for axis, (limits, column, title, trial) in zip(line, PANELS, strict=True):
                for (part, method), color in colors.items():
                    mine = [
                        row
                        for row in rows
                        if (row['part'], row['method']) == (part, method)
                        and (row['source'], row['trial']) == (source, trial)
                        and row['limits'] in (limits, 'none')
                    ]
                    if not mine:
                        continue
                    mine.sort(key=lambda row: row['delay_ms'])
                    (handle,) = axis.plot(
                        [row['delay_ms'] for row in mine],
                        [row[column] for row in mine],
                        '--' if part == 'peer' else '-',
                        color=color,
                        marker='o',
                        markersize=3,
                        linewidth=2.2 if method == BEST else 1.3,
                    )
                    handles.setdefault(f'LeRobot: {method}' if part == 'peer' else method, handle)
                axis.set(title=f'{title}\n{SOURCES[source]}', xlabel='delay, ms')
                axis.title.set_size(9)
                if column != 'idle':
                    axis.set_yscale('log')
        lines = -(-len(handles) // 5)
        legend_below(figure, lines, 5, handles=[*handles.values()], labels=[*handles])
    return True


def plot_success(path: Path, rows: Sequence[Row]) -> bool:
    """Draw success and idle time against the delay of inference, a line a way of execution.

    ``rows`` are those of the part ``success``. Returns whether there was something to draw.
    """
    if not rows:
        return False
    colors = colors_of(row['method'] for row in rows)
    with drawn(path, 1, 3, figsize=(14, 4.4)) as (figure, axes):
        success, idle, duration = axes[0]
        for index, (method, color) in enumerate(colors.items()):
            mine = sorted((r for r in rows if r['method'] == method), key=lambda r: r['delay_ms'])
            # Intervals of several lines at one delay would hide each other.
            shift = 6 * (index - (len(colors) - 1) / 2)
            points = [success_point(r['delay_ms'] + shift, r, method, color) for r in mine]
            draw(success, points, line=True, label=method)
            delays = [row['delay_ms'] for row in mine]
            idle.plot(delays, [row['idle'] for row in mine], color=color, marker='o')
            times = [row['mean_duration_s'] for row in mine]
            duration.plot(delays, times, color=color, marker='o')
        success.set(ylabel='success, with 95 % interval', ylim=(-0.02, 1.03))
        idle.set(ylabel='share of time without a chunk to follow', ylim=(-0.02, None))
        duration.set(ylabel='mean length of an episode, s')
        for axis in axes.flat:
            axis.set_xlabel('delay of inference, ms')
        legend_below(figure, -(-len(colors) // 6), 6)
    return True
