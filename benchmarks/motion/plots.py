# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of `efficient-vla bench motion`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.motion.conditions import BEST
from benchmarks.tokens.plots import COLORS, load_pyplot

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
    rows = [row for row in rows if 'max_jerk' in row]
    sources = [source for source in SOURCES if any(row['source'] == source for row in rows)]
    if not sources:
        return False
    plot = load_pyplot()
    figure, axes = plot.subplots(
        len(sources), len(PANELS), figsize=(17, 3.6 * len(sources) + 1.2), squeeze=False
    )
    names = list(dict.fromkeys((row['part'], row['method']) for row in rows))
    colors = {name: COLORS[index % len(COLORS)] for index, name in enumerate(names)}
    for line, source in zip(axes, sources, strict=True):
        for axis, (limits, column, title, trial) in zip(line, PANELS, strict=True):
            for part, method in names:
                mine = [
                    row
                    for row in rows
                    if (row['part'], row['method']) == (part, method)
                    and (row['source'], row['trial']) == (source, trial)
                    and row['limits'] in (limits, 'none')
                ]
                mine.sort(key=lambda row: row['delay_ms'])
                axis.plot(
                    [row['delay_ms'] for row in mine],
                    [row[column] for row in mine],
                    '--' if part == 'peer' else '-',
                    color=colors[part, method],
                    marker='o',
                    markersize=3,
                    linewidth=2.2 if method == BEST else 1.3,
                    label=f'LeRobot: {method}' if part == 'peer' else method,
                )
            axis.set(title=f'{title}\n{SOURCES[source]}', xlabel='delay, ms')
            axis.title.set_size(9)
            axis.grid(alpha=0.25)
            if column != 'idle':
                axis.set_yscale('log')
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            if len(handle.get_xdata()):
                handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles.keys(), loc='lower center', ncols=5, frameon=False, fontsize=8.5
    )
    figure.tight_layout(rect=(0, 0.09 if len(sources) > 1 else 0.16, 1, 1))
    figure.savefig(path, dpi=120)
    plot.close(figure)
    return True


def plot_success(path: Path, rows: Sequence[Row]) -> bool:
    """Draw success and idle time against the delay of inference, a line a way of execution.

    ``rows`` are those of the part ``success``. Returns whether there was something to draw.
    """
    rows = [row for row in rows if 'success_rate' in row]
    if not rows:
        return False
    plot = load_pyplot()
    figure, (success, idle, duration) = plot.subplots(1, 3, figsize=(14, 4.4))
    methods = list(dict.fromkeys(row['method'] for row in rows))
    for index, method in enumerate(methods):
        mine = sorted((r for r in rows if r['method'] == method), key=lambda r: r['delay_ms'])
        color = COLORS[index % len(COLORS)]
        # Intervals of several lines at one delay would hide each other.
        shift = 6 * (index - (len(methods) - 1) / 2)
        delays = [row['delay_ms'] for row in mine]
        for row in mine:
            success.plot(
                [row['delay_ms'] + shift] * 2,
                (row['ci_low'], row['ci_high']),
                color=color,
                alpha=0.4,
            )
        success.plot(
            [delay + shift for delay in delays],
            [row['success_rate'] for row in mine],
            color=color,
            marker='o',
            label=method,
        )
        idle.plot(delays, [row['idle'] for row in mine], color=color, marker='o')
        duration.plot(delays, [row['mean_duration_s'] for row in mine], color=color, marker='o')
    success.set(ylabel='success, with 95 % interval', ylim=(-0.02, 1.03))
    idle.set(ylabel='share of time without a chunk to follow', ylim=(-0.02, None))
    duration.set(ylabel='mean length of an episode, s')
    for axis in (success, idle, duration):
        axis.set_xlabel('delay of inference, ms')
        axis.grid(alpha=0.25)
    figure.legend(loc='lower center', ncols=6, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(path, dpi=120)
    plot.close(figure)
    return True
