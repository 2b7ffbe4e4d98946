# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The page ``decoding.md`` and its picture: tables of `efficient-vla bench decoding`."""

from pathlib import Path
from typing import Any

from benchmarks.decoding.conditions import CONSISTENCY, EXACT, FLOW, SHORTCUT
from benchmarks.pictures import GREY, Point, colors_of, draw, drawn, label, success_point
from benchmarks.report import SUCCESS, PageSection, Parts, Picture, Report, Row

PICTURE = 'decoding.png'


def _named(parts: Parts, part: str) -> dict[str, Row]:
    return {row['name']: row for row in parts.get(part, ())}


def _family(row: Row) -> str:
    """Return the head or tokenizer, by which points have their colour."""
    return str(row['name'].split(',')[0])


def _heads(parts: Parts) -> list[Row]:
    """Return a row a condition: latency and success beside each other."""
    latency, success = _named(parts, 'latency'), _named(parts, 'success')
    found: list[Row] = []
    for name in dict.fromkeys([*latency, *success]):
        row: dict[str, Any] = {**success.get(name, {}), **latency.get(name, {})}
        if row.get('reference') == name:
            row |= dict.fromkeys(('same_chunks', 'gap_mean_mm', 'gap_max_mm'))
        same = row.get('same_chunks')
        row['same'] = '-' if same is None else f'{100 * same:.1f} % of {row["reference"]}'
        found.append(row)
    return found


def _findings(parts: Parts) -> list[str]:
    """Compare what is the same but for one thing."""
    found = []
    for part in ('success', 'one_step'):
        rows = _named(parts, part)
        if {SHORTCUT, FLOW} <= rows.keys():
            points = 100 * (rows[SHORTCUT]['success_rate'] - rows[FLOW]['success_rate'])
            found.append(
                f'{SHORTCUT}, against ten steps: {points:+.1f} points of success in '
                f'{rows[SHORTCUT]["episodes"]} episodes.'
            )
    latency = _named(parts, 'latency')
    if SHORTCUT in latency:
        found.append(f'{SHORTCUT}: {latency[SHORTCUT]["speed_up"]:.1f} times less head time.')
    found += [
        f'{name}: {round(row["same_chunks"] * row["plans"])} of {row["plans"]} chunks equal those '
        f'of autoregressive, {row["speed_up"]:.1f} times as fast.'
        for name, row in latency.items()
        if name.endswith(tuple(f', {method}' for method in EXACT))
    ]
    if few := latency.get(CONSISTENCY):
        found.append(
            f'{CONSISTENCY}: {few["speed_up"]:.1f} times as fast as autoregressive, gap '
            f'{few["gap_mean_mm"]:.2f} mm.'
        )
    return found


def _fewer_tokens(parts: Parts) -> list[str]:
    rows = _named(parts, 'tokenizers')
    fast, bins = rows.get('fast, shipped'), rows.get('bins, shipped')
    if not fast or not bins:
        return []
    return [
        f'FAST takes {bins["tokens_mean"] / fast["tokens_mean"]:.1f} times fewer tokens than bins, '
        f'at {fast["path_error_mean_mm"]:.2f} mm mean and {fast["path_error_p95_mm"]:.2f} mm p95.'
    ]


def plot(path: Path, parts: Parts) -> bool:
    """Draw success against head latency, and error against tokens; return whether there was any."""
    latency, tokenizers = _named(parts, 'latency'), parts.get('tokenizers', ())
    shown = [row for row in parts.get('success', ()) if row['name'] in latency]
    if not shown and not tokenizers:
        return False
    colors = colors_of(_family(row) for row in (*shown, *tokenizers))
    points = [
        success_point(latency[row['name']]['head_p50_ms'], row, row['name'], colors[_family(row)])
        for row in shown
    ]
    errors = [
        Point(row['tokens_mean'], error, error, error, row['name'], colors[_family(row)])
        for row in tokenizers
        for error in (row['path_error_p95_mm'],)
    ]
    with drawn(path, 1, 2, figsize=(15, 6.6), width_ratios=(2.2, 1)) as (figure, axes):
        left, right = axes[0]
        draw(left, points)
        left.set(xlabel='latency of the head, p50 [ms]', ylabel='success, with 95 % interval')
        left.set_xscale('log')
        if points:
            low = min(point.low for point in points)
            left.set_ylim(max(-0.02, low - 0.5 * (1 - low)), 1.05)
            left.set_xlim(0.4 * min(p.x for p in points), 2.5 * max(p.x for p in points))
        draw(right, errors)
        right.axhline(1.0, color=GREY, linewidth=0.8)
        right.set(xlabel='tokens of a chunk, mean', ylabel='error of the path, p95 [mm]')
        right.set_xlim(0, 1.3 * max((point.x for point in errors), default=1.0))
        figure.tight_layout()
        for axis, some in ((left, points), (right, errors)):
            if some:
                label(axis, some)
    return True


SECTIONS = (
    PageSection(
        '## Every head and decoding',
        'success',
        'Success is paired with regression on the same episodes, inference taking no simulated '
        'time. Latency is that of the whole head on recorded plans, all heads in turn. Steps are '
        'passes through the network (diffusion: whole ones). Same: chunks that equal those of the '
        'reference exactly; gap: how far the two paths of 0.5 s are apart at most.',
        ('success against latency, error against tokens', PICTURE),
        (
            ('', '{name}'),
            *SUCCESS,
            ('head p50 ms', '{head_p50_ms:.2f}'),
            ('p95 ms', '{head_p95_ms:.2f}'),
            ('steps', '{steps:.1f}'),
            ('same as reference', '{same}'),
            ('gap mean mm', '{gap_mean_mm:.2f}'),
            ('gap max mm', '{gap_max_mm:.2f}'),
        ),
        rows=_heads,
        findings=_findings,
    ),
    PageSection(
        '## Tokens of a chunk',
        'tokenizers',
        '{chunks} chunks of 40 rows of noise-free experts, of episodes that nothing was fitted on. '
        'Error: how far the path of the decoded chunk is from the true one at most.',
        columns=(
            ('', '{name}'),
            ('vocabulary', '{vocabulary}'),
            ('tokens, mean', '{tokens_mean:.1f}'),
            ('most', '{tokens_max}'),
            ('error mean mm', '{path_error_mean_mm:.2f}'),
            ('p95 mm', '{path_error_p95_mm:.2f}'),
            ('max mm', '{path_error_max_mm:.2f}'),
        ),
        findings=_fewer_tokens,
    ),
)
REPORT = Report('decoding.md', 'Heads and decodings', SECTIONS, (Picture(PICTURE, plot),))
