# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The picture of `efficient-vla bench decoding`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tokens.plots import load_pyplot

Row = Mapping[str, Any]
COLORS = {
    'regression': '#1c2026',
    'flow': '#2f6db3',
    'diffusion': '#c06a1f',
    'univla': '#7a5548',
    'bins': '#1a8f55',
    'fast': '#8a4fb0',
}


def plot(path: Path, parts: Mapping[str, Sequence[Row]]) -> bool:
    """Draw success against head latency, and error against tokens; return whether there was any."""
    latency = {row['name']: row for row in parts['latency'] if 'head_p50_ms' in row}
    points = [
        (latency[row['name']]['head_p50_ms'], row)
        for row in parts['success']
        if row['name'] in latency and 'success_rate' in row
    ]
    tokenizers = parts['tokenizers']
    if not points and not tokenizers:
        return False
    pyplot = load_pyplot()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 6.2), width_ratios=(1.7, 1))
    for number, (x, row) in enumerate(points, 1):
        color = COLORS[row['name'].split(',')[0]]
        left.plot([x, x], (row['ci_low'], row['ci_high']), color=color, alpha=0.3)
        label = f'{number} {row["name"]}'
        left.plot(x, row['success_rate'], 'o', color=color, markersize=5, label=label)
        left.annotate(str(number), (x, row['success_rate']), (4, 4), textcoords='offset points')
    left.set(xlabel='latency of the head, p50 [ms]', ylabel='success, with 95 % interval')
    left.set_xscale('log')
    left.grid(alpha=0.25)
    if points:
        left.legend(fontsize=7.5, loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)
    for row in tokenizers:
        color = COLORS[row['name'].split(',')[0]]
        right.plot(row['tokens_mean'], row['path_error_p95_mm'], 'o', color=color)
        place = (row['tokens_mean'], row['path_error_p95_mm'])
        right.annotate(row['name'], place, (5, 3), textcoords='offset points', fontsize=8)
    right.axhline(1.0, color='#6b7480', linewidth=0.8)
    right.set(xlabel='tokens of a chunk, mean', ylabel='error of the path, p95 [mm]')
    right.set_xlim(0, 1.3 * max((row['tokens_mean'] for row in tokenizers), default=1.0))
    right.grid(alpha=0.25)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True
