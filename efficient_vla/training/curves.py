# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Losses over training, as a table and a picture."""

import csv
from pathlib import Path

FIELDS = ('stage', 'step', 'loss', 'value', 'seconds')


def append(path: Path, stage: str, step: int, values: dict[str, float], seconds: float) -> None:
    """Add one row a loss to ``curves.csv``."""
    new = not path.exists()
    with path.open('a', newline='') as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(FIELDS)
        for name, value in values.items():
            writer.writerow([stage, step, name, f'{value:.6f}', f'{seconds:.0f}'])


def draw(path: Path) -> None:
    """Plot every loss of every stage over its steps, where any was logged, beside its file.

    Steps done again count as they went last.
    """
    if not path.exists():
        return
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    lines: dict[str, dict[str, list[tuple[int, float]]]] = {}
    with path.open(newline='') as file:
        for row in csv.DictReader(file):
            points = lines.setdefault(row['stage'], {}).setdefault(row['loss'], [])
            step = int(row['step'])
            while points and points[-1][0] >= step:
                points.pop()
            points.append((step, float(row['value'])))
    figure, axes = pyplot.subplots(1, len(lines), figsize=(4.5 * len(lines), 3.2), squeeze=False)
    for axis, (stage, losses) in zip(axes[0], lines.items(), strict=True):
        for name, points in losses.items():
            axis.plot(*zip(*points, strict=True), label=name)
        axis.set(title=stage, xlabel='step', yscale='log')
        axis.legend(frameon=False)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path.with_suffix('.png'), dpi=120)
    pyplot.close(figure)
