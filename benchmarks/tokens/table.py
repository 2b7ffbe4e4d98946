# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The page ``tokens.md``: all tables of `efficient-vla bench tokens`, with published numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.tokens.cost import finished
from benchmarks.tokens.flops import FORMULA
from benchmarks.tokens.published import PUBLISHED, verdicts

Row = Mapping[str, Any]
GRAPH_SPEED_UP, GRAPH_POINTS = 2.5, 2.0
SHAPE_SPEED_UP = 2.8
OVERHEAD_PERCENT = 5.0
PARTIAL_SPEED_UP = {0.1: 5.0, 0.25: 2.5}
STATIC_HITS, STATIC_SPEED_UP = 0.9, 10.0
"""What was asked for at least, or at most."""


def page(rows: Sequence[Row], manifest: Mapping[str, Any]) -> str:
    """Return the page in Markdown; parts without rows are left out.

    A quick run is not judged: no sentence says what was asked for or does not reproduce.
    """
    machine = manifest['machine']
    lines = [
        '# Fewer visual tokens',
        '',
        f'Made by `{manifest["command"]}` on {machine["cores"]} cores of {machine["cpu"]}, commit '
        f'`{str(manifest["git_commit"])[:12]}`. Every number is in the JSON file beside this page.',
    ]
    if manifest['quick']:
        lines += ['', 'A quick run: it shows that everything runs, and its numbers mean nothing.']
    parts: dict[str, Callable[[Sequence[Row], bool], list[str]]] = {
        'methods': _methods,
        'overhead': _overhead,
        'shapes': _shapes,
        'vision': _vision,
        'graph': _graph,
        'soak': _soak,
    }
    for part, write in parts.items():
        mine = [row for row in rows if row['part'] == part]
        whole = [row for row in mine if finished(row)]
        if whole:
            lines += ['', *write(whole, not manifest['quick'])]
        for row in mine:
            if 'refused' in row:
                lines += ['', f'Not measured: {row["name"]}. {row["refused"]}']
    return '\n'.join(lines) + '\n'


def _methods(rows: Sequence[Row], judge: bool) -> list[str]:
    first = rows[0]
    tasks = first['tasks'].replace(',', ', ')
    lines = [
        '## Every method',
        '',
        f'evla-nano `single` on {tasks}: {first["episodes"]} episodes a method, rendering '
        f'{first["render"]}, paired with dense by task and seed. Latencies are medians on recorded '
        'frames of a scripted expert, dense and method in turn, with the threads that the graph '
        f'gives the reasoner ({first["threads"]}); the ratio is to that dense.',
        '',
        '![success against latency](tokens_success.png)',
        '',
        *table(
            (
                'method',
                'success',
                '95 %',
                'only dense / only method',
                'p',
                'reasoner ms p50 / p95',
                'ratio',
                'perception ms',
                'ratio',
                'both, ratio',
                'GFLOP',
                'kept',
                'reused',
            ),
            [
                (
                    row['name'],
                    percent(row['success_rate']),
                    f'{percent(row["ci_low"])} to {percent(row["ci_high"])}',
                    f'{row["only_dense"]} / {row["only_method"]}',
                    f'{row["p_value"]:.2g}',
                    f'{row["reasoner_p50_ms"]:.1f} / {row["reasoner_p95_ms"]:.1f}',
                    f'{row["reasoner_ratio"]:.2f}',
                    f'{row["perception_p50_ms"]:.1f}',
                    f'{row["perception_ratio"]:.2f}',
                    f'{row["plan_ratio"]:.2f}',
                    f'{row["reasoner_gflops"]:.2f}',
                    f'{row["tokens_kept"]:.0f} of {row["tokens_total"]:.0f}',
                    f'{row["tokens_cached"]:.0f} + {row["tokens_reused"]:.0f}',
                )
                for row in rows
            ],
        ),
        '',
        f'Reused: tokens that perception took from an earlier frame + keys and values. {FORMULA}',
        '',
        '### Beside the papers',
        '',
        *_published(rows),
    ]
    sentences = verdicts(rows) if judge else []
    if sentences:
        lines += ['', '### What does not reproduce', '', *(f'- {text}' for text in sentences)]
    return lines


def _published(rows: Sequence[Row]) -> list[str]:
    return table(
        ('method', 'published success [%]', 'published speed', 'here: success, speed'),
        [
            (row['name'], known.success, known.speed, _here(row))
            for row in rows
            if (known := PUBLISHED.get(row['method']))
        ],
    )


def _here(row: Row) -> str:
    success = f'{100 * row["dense_success_rate"]:.0f} to {100 * row["success_rate"]:.0f}'
    return (
        f'{success}; reasoner {1 / row["reasoner_ratio"]:.2f}x, '
        f'with perception {1 / row["plan_ratio"]:.2f}x'
    )


def _overhead(rows: Sequence[Row], judge: bool) -> list[str]:
    lines = [
        '## Overhead of selectors',
        '',
        f'Shares of the dense reasoner pass, {rows[0]["threads"]} thread(s) as in the graph; asked '
        f'for was at most {OVERHEAD_PERCENT:g} %. Direct: '
        'time in selection, motion gate, protection, budget and memories at keep 0.5. End to end: '
        'median difference to dense where one token is dropped or nothing can be reused, extra '
        'attention rows included; none for a method that drops more on its own account.',
        '',
        *table(
            ('method', 'direct ms', 'direct %', 'end to end ms', 'end to end %', 'dense ms'),
            [
                (
                    row['name'],
                    f'{row["direct_p50_ms"]:.2f}',
                    f'{row["direct_percent"]:.1f}',
                    number(row['end_to_end_ms'], 2),
                    number(row['end_to_end_percent'], 1),
                    f'{row["dense_reasoner_p50_ms"]:.1f}',
                )
                for row in rows
            ],
        ),
    ]
    for column, words in (('direct_percent', 'direct'), ('end_to_end_percent', 'end to end')):
        over = [row for row in rows if (row[column] or 0.0) > OVERHEAD_PERCENT]
        if judge and over:
            names = ', '.join(f'{row["name"]} {row[column]:.1f} %' for row in over)
            lines += ['', f'More than was asked for, {words}: {names}.']
    return lines


def _shapes(rows: Sequence[Row], judge: bool) -> list[str]:
    lines = [
        '## Shapes of published models',
        '',
        'The language part with random weights; rows of one shape ran in turn.',
        '',
        '![latency against keep and reuse](tokens_shapes.png)',
    ]
    for shape, device in dict.fromkeys((row['shape'], row['device']) for row in rows):
        mine = [row for row in rows if (row['shape'], row['device']) == (shape, device)]
        first = mine[0]
        lines += [
            '',
            f'{shape}: {first["layout"]}. {first["layers"]} of {first["layers_of_model"]} layers, '
            f'{first["dtype"]}, {device}, {first["passes"]} passes each.',
            '',
            *table(
                (
                    'mechanism',
                    'keep',
                    'reuse',
                    'p50 ms',
                    'p95 ms',
                    'speed-up',
                    'GFLOP',
                    'FLOPs, ratio',
                ),
                [
                    (
                        row['mechanism'],
                        f'{row["keep"]:g}',
                        '' if row['reuse'] is None else f'{row["reuse"]:g}',
                        f'{row["p50_ms"]:.1f}',
                        f'{row["p95_ms"]:.1f}',
                        f'{row["speed_up"]:.2f}x',
                        f'{row["gflops"]:.1f}',
                        f'{row["flops_ratio"]:.2f}',
                    )
                    for row in mine
                ],
            ),
        ]
        quarter = max((row['speed_up'] for row in mine if row['keep'] == 0.25), default=None)
        if judge and quarter is not None and quarter < SHAPE_SPEED_UP:
            lines += [
                '',
                f'Asked were {SHAPE_SPEED_UP:g}x at keep 0.25; it is {quarter:.2f}x here.',
            ]
    return lines


def _vision(rows: Sequence[Row], judge: bool) -> list[str]:
    """Return one table a measurement: its rows have columns of their own."""
    lines = ['## Vision tower']
    for name in dict.fromkeys(row['measurement'] for row in rows):
        mine = [row for row in rows if row['measurement'] == name]
        hidden = ('part', 'key', 'commit', 'measurement')
        columns = list(dict.fromkeys(c for row in mine for c in row if c not in hidden))
        body = [tuple(_text(row.get(column)) for column in columns) for row in mine]
        lines += ['', f'### {name}', '', *table([c.replace('_', ' ') for c in columns], body)]
        for row in mine if judge else ():
            lines += _vision_shortfall(row)
    return lines


def _vision_shortfall(row: Row) -> list[str]:
    """Return a sentence where a row of the large tower misses what was asked for."""
    large = row['config'] != 'evla-nano'
    asked = PARTIAL_SPEED_UP.get(row.get('asked_share', 0.0)) if large else None
    if asked is not None and row['speedup_p50'] < asked:
        return [
            '',
            f'Asked were {asked:g}x at {row["asked_share"]:.0%} changed patches; it is '
            f'{row["speedup_p50"]:.2f}x at max error {row["max_error"]:g}.',
        ]
    if 'hit_rate' in row:
        hits, speed = row['hit_rate'], row['tower_speedup_mean']
        if hits < STATIC_HITS or speed < STATIC_SPEED_UP:
            return [
                '',
                f'Asked were hits over {STATIC_HITS:.0%} and {STATIC_SPEED_UP:g}x less time in the '
                f'tower; it is {hits:.1%} and {speed:.2f}x.',
            ]
    return []


def _graph(rows: Sequence[Row], judge: bool) -> list[str]:
    lines = [
        '## Through the graph',
        '',
        'Whole plan latency is the p50 of perception plus that of the reasoner, from their '
        '`EfficiencyStats`; the conditions ran in turn. A cache that answers most frames makes the '
        'p50 that of a hit, so that the speed-up of the mean times stands beside it.',
        '',
        *table(
            (
                'condition',
                'parameters',
                'success',
                '95 %',
                'p',
                'perception ms',
                'reasoner ms',
                'plan ms',
                'speed-up',
                'of means',
            ),
            [
                (
                    row['name'],
                    f'`{row["overrides"]}`' if row['overrides'] else '',
                    percent(row['success_rate']),
                    f'{percent(row["ci_low"])} to {percent(row["ci_high"])}',
                    f'{row["p_value"]:.2g}',
                    f'{row["perception_p50_ms"]:.1f}',
                    f'{row["reasoner_p50_ms"]:.1f}',
                    f'{row["plan_p50_ms"]:.1f}',
                    f'{row["speed_up"]:.2f}x',
                    f'{row["speed_up_of_means"]:.2f}x',
                )
                for row in rows
            ],
        ),
    ]
    for row in rows if judge else ():
        lost = round(100 * (row['dense_success_rate'] - row['success_rate']), 6)
        if row['name'] == 'dense' or (row['speed_up'] >= GRAPH_SPEED_UP and lost <= GRAPH_POINTS):
            continue
        lines += [
            '',
            f'Asked were {GRAPH_SPEED_UP:g}x at no more than {GRAPH_POINTS:g} points of success; '
            f'{row["name"]} gives {row["speed_up"]:.2f}x and loses {lost:.1f} points.',
        ]
    return lines


def _soak(rows: Sequence[Row], judge: bool) -> list[str]:
    row = rows[-1]
    lines = [
        '## Soak',
        '',
        f'{row["frames"]} frames with random accidents: {row["failures"]} failures, memory grew by '
        f'{row["memory_growth_mb"]:.1f} MB after warm-up, '
        f'{row["memory_growth_second_half_mb"]:.1f} MB of it in the second half, oldest token '
        f'{row["oldest_token_s"]:.2f} s, oldest slot {row["oldest_slot_s"]:.2f} s; caps changed '
        'on the way.',
    ]
    if judge and row['failures']:
        lines += ['', f'The first failure: {row["first_failure"]}']
    hidden = ('part', 'key', 'commit', 'name', 'frames', 'failures', 'refusals', 'first_failure')
    counts = [
        (name.replace('_', ' '), _text(value))
        for name, value in row.items()
        if name not in hidden and isinstance(value, int)
    ]
    return [*lines, '', *table(('what happened', 'times'), counts)]


def percent(share: float) -> str:
    """Return a share in words."""
    return f'{100 * share:.0f} %'


def number(value: float | None, digits: int) -> str:
    """Return a number with so many decimals, or a dash where there is none."""
    return '-' if value is None else f'{value:.{digits}f}'


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.4g}'
    return '' if value is None else str(value)


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return [
        '| ' + ' | '.join(head) + ' |',
        '|' + '---|' * len(head),
        *('| ' + ' | '.join(cell.replace('|', '/') for cell in row) + ' |' for row in body),
    ]
