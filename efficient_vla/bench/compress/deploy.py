# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder that `efficient-vla compress` leaves: the policy, its parameters and a report."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.job import SINGLE
from benchmarks.pictures import BLACK, COLORS, Point, draw, drawn, label
from benchmarks.report import Columns, fill, table
from efficient_vla.bench.compress.run import Findings
from efficient_vla.bench.compress.search import Cost
from efficient_vla.bench.overrides import merged, parse_overrides
from efficient_vla.bringup.deployment import FILE
from efficient_vla.bringup.parameter_files import parameters_yaml
from efficient_vla.claims import writable_folder
from efficient_vla.errors import UsageError
from efficient_vla.places import EXPORTS

PICTURE, PAGE, NUMBERS = 'pareto.png', 'report.md', 'compress.json'


def refuse_folder(out: Path, policy: Path) -> None:
    """Raise ``UsageError`` where the folder cannot be written beside the policy."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f'--out {out} is there and not empty; expected a new folder.')
    if policy.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(f'--out {out} lies inside the policy {policy}; expected another place.')
    writable_folder(out.parent, '--out')


def write(out: Path, policy: Path, found: Findings, about: Mapping[str, Any]) -> None:
    """Write the folder at once: the policy's files and, where one was found, its parameters.

    ``about`` has ``manifest``, ``budget_ms``, ``max_drop``, ``target``, and the memory of dense and
    of what was chosen.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as room:
        folder = Path(room) / 'folder'
        if found.chosen is None:
            folder.mkdir()
        else:
            shutil.copytree(policy, folder, ignore=shutil.ignore_patterns(FILE, EXPORTS))
            values = merged(SINGLE, parse_overrides(found.chosen.words))
            (folder / FILE).write_text(parameters_yaml(values))
        _draw(folder / PICTURE, found, about['budget_ms'])
        (folder / PAGE).write_text(_page(policy, found, about))
        (folder / NUMBERS).write_text(json.dumps(_numbers(found, about), indent=1) + '\n')
        if out.exists():
            out.rmdir()
        os.replace(folder, out)


def _numbers(found: Findings, about: Mapping[str, Any]) -> dict[str, Any]:
    costs = [found.dense, *found.singles, *found.together]
    rows = [
        {
            'name': cost.name,
            'overrides': ' '.join(cost.words),
            'chosen': cost is found.chosen,
            **cost.columns,
            **found.confirmed.get(cost.name, {}),
        }
        for cost in costs
    ]
    return {'rows': rows, 'refused': found.refused, **about}


def _page(policy: Path, found: Findings, about: Mapping[str, Any]) -> str:
    machine = about['manifest']['machine']
    lines = [
        f'# {policy.name} within {about["budget_ms"]:g} ms',
        '',
        f'Measured on {machine["cores"]} cores of {machine["cpu"]}. A decision is perception, '
        'reasoner and actor of one frame; the budget is for its mean.',
        '',
        _verdict(found, about),
    ]
    if found.chosen is not None:
        shown = [(found.dense, 'dense_memory'), (found.chosen, 'memory')]
        rows = [
            {'name': cost.name, **cost.columns, **found.confirmed[cost.name], **about[memory]}
            for cost, memory in shown
        ]
        columns: Columns = (
            ('', '{name}'),
            ('success', '{success_rate:.0%}'),
            ('95 %', '{ci_low:.0%} to {ci_high:.0%}'),
            ('episodes', '{episodes}'),
            ('decision ms mean', '{decision_mean_ms:.1f}'),
            ('p50 / p95', '{decision_p50_ms:.1f} / {decision_p95_ms:.1f}'),
            ('weights MB', '{weights_mb:.1f}'),
            ('resident MB', '{resident_mb:.0f}'),
        )
        lines += ['', *table(columns, rows), '', '```', *found.chosen.words, '```']
    lines += ['', '## What no other beats', '', f'![gap against time]({PICTURE})', '']
    rows = [
        {
            'name': c.name,
            'ms': c.share * found.dense_ms,
            'gap': c.gap_mm,
            **found.confirmed.get(c.name, {}),
        }
        for c in found.front
    ]
    columns = (
        ('', '{name}'),
        ('decision ms', '{ms:.1f}'),
        ('gap mm', '{gap:.2f}'),
        ('success', '{success_rate:.0%}'),
        ('points lost', '{drop_points:.1f}'),
    )
    lines += table(columns, rows)
    lines += [line for name, why in found.refused.items() for line in ('', f'Not: {name}. {why}')]
    return '\n'.join(lines) + '\n'


def _verdict(found: Findings, about: Mapping[str, Any]) -> str:
    cost = found.chosen
    if cost is None:
        fastest = found.front[0]
        tried = ', '.join(name for name in found.confirmed if name != found.dense.name)
        spent = fastest.share * found.dense_ms
        return (
            f'Nothing meets {about["budget_ms"]:g} ms at no more than {about["max_drop"]:g} points '
            f'of success. The fastest, {fastest.name}, takes {spent:.1f} ms'
            + (f'; episodes were played with {tried}.' if tried else '.')
        )
    times = {'ms': cost.share * found.dense_ms, 'dense_ms': found.dense_ms}
    row = {'name': cost.name, **times, **found.confirmed[cost.name]}
    return fill(
        '**{name}**: {ms:.1f} ms a decision in place of {dense_ms:.1f}, {drop_points:.1f} points '
        'of success lost in {episodes} paired episodes (p = {p_value:.2f}).',
        row,
    )


def _draw(path: Path, found: Findings, budget_ms: float) -> None:
    best = {cost.name for cost in found.front}

    def point(cost: Cost) -> Point:
        color = COLORS[2] if cost is found.chosen else COLORS[0] if cost.name in best else '#b8bfc8'
        spent = cost.share * found.dense_ms
        return Point(spent, cost.gap_mm, cost.gap_mm, cost.gap_mm, cost.name, color)

    points = [point(cost) for cost in (found.dense, *found.singles, *found.together)]
    with drawn(path, 1, 1, figsize=(9, 6)) as (figure, axes):
        axis = axes[0][0]
        draw(axis, points)
        axis.axvline(budget_ms, color=BLACK, linestyle='--', linewidth=0.9)
        axis.set(
            xscale='log',
            xlabel='mean decision [ms]; dashed: the budget',
            ylabel='gap to dense [mm]',
        )
        figure.tight_layout()
        label(axis, [p for p in points if p.name in best])
