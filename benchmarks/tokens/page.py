# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The page ``tokens.md``: all tables of `efficient-vla bench tokens`, with published numbers."""

from benchmarks.report import SUCCESS, PageSection, Parts, Picture, Report, Row
from benchmarks.tokens.flops import FORMULA
from benchmarks.tokens.plots import plot_shapes, plot_success
from benchmarks.tokens.published import PUBLISHED, cost, described, of_means, verdicts
from efficient_vla.bench.rows import REFUSED

SUCCESS_PICTURE, SHAPES_PICTURE = 'tokens_success.png', 'tokens_shapes.png'
SOAK = ('name', 'frames', 'failures', 'refusals', 'first_failure')
"""Columns of a soak that are no counts of accidents."""


def _finished(row: Row) -> bool:
    """Return whether a row has all it should; cost and success of a method come apart."""
    halves = {'plan_ratio', 'success_rate'} if row['part'] == 'methods' else set()
    return REFUSED not in row and halves <= row.keys()


def _methods(parts: Parts) -> list[Row]:
    return [
        {
            **described(row),
            'policy': row.get('policy', 'evla-nano'),
            'tasks': row['tasks'].replace(',', ', '),
            'of_means': of_means(row, 'plan'),
        }
        for row in parts.get('methods', ())
    ]


def _beside_the_papers(parts: Parts) -> list[Row]:
    return [
        {
            **row,
            'published_success': known.success,
            'published_speed': known.speed,
            'reasoner_speed_up': 1 / cost(row, 'reasoner'),
            'plan_speed_up': 1 / cost(row, 'plan'),
        }
        for row in _methods(parts)
        if (known := PUBLISHED.get(row['method']))
    ]


def _accidents(parts: Parts) -> list[Row]:
    return [
        {**row, 'what happened': name.replace('_', ' '), 'times': value}
        for row in parts.get('soak', ())[-1:]
        for name, value in row.items()
        if name not in SOAK and isinstance(value, int)
    ]


def _soak_failures(parts: Parts) -> list[str]:
    return [
        f'The first failure: {row["first_failure"]}'
        for row in parts.get('soak', ())[-1:]
        if row['failures']
    ]


SECTIONS = (
    PageSection(
        '## Every method',
        'methods',
        '{policy} `single` on {tasks}: {episodes} episodes a method, rendering {render}, paired '
        'with dense by task and seed (exact McNemar test). Latencies are medians on recorded '
        'frames of a scripted expert, dense and method in turn, with the threads that the graph '
        'gives the reasoner ({threads}); the ratio is to that dense. A scheduler leaves some plans '
        'out, which no median shows: `of means` is the mean to the dense median, and such a method '
        'is judged by it. A row is the `whole` method of its paper, the method `in part`, or its '
        '`selection only`, as its parameters say. '
        'Reused: tokens that perception took from an earlier frame + keys and values. '
        '`tower at 4 Hz`: thresholds of 1.0 switch change detection off, so that the cache is a '
        'fixed rate of the tower. '
        f'{FORMULA}',
        ('success against latency', SUCCESS_PICTURE),
        (
            ('method', '{name}'),
            ('what ran', '{scope}'),
            *SUCCESS,
            ('only dense / only method', '{only_dense} / {only_method}'),
            ('p', '{p}'),
            ('reasoner ms p50 / p95', '{reasoner_p50_ms:.1f} / {reasoner_p95_ms:.1f}'),
            ('ratio', '{reasoner_ratio:.2f}'),
            ('perception ms', '{perception_p50_ms:.1f}'),
            ('ratio', '{perception_ratio:.2f}'),
            ('both, ratio', '{plan_ratio:.2f}'),
            ('of means', '{of_means:.2f}'),
            ('GFLOP', '{reasoner_gflops:.2f}'),
            ('kept', '{tokens_kept:.0f} of {tokens_total:.0f}'),
            ('reused', '{tokens_cached:.0f} + {tokens_reused:.0f}'),
        ),
        rows=_methods,
    ),
    PageSection(
        '### Beside the papers',
        'methods',
        columns=(
            ('method', '{name}'),
            ('what ran', '{scope}'),
            ('published success [%]', '{published_success}'),
            ('published speed', '{published_speed}'),
            ('here: success', '{dense_success_rate:.0%} to {success_rate:.0%}'),
            ('reasoner', '{reasoner_speed_up:.2f}x'),
            ('with perception', '{plan_speed_up:.2f}x'),
        ),
        rows=_beside_the_papers,
    ),
    PageSection(
        '### What does not reproduce',
        'methods',
        rows=lambda parts: (),
        findings=lambda parts: [f'- {text}' for text in verdicts(parts.get('methods', ()))],
    ),
    PageSection(
        '## Overhead of selectors',
        'overhead',
        'Shares of the dense reasoner pass, {threads} thread(s) as in the graph. Direct: time in '
        'selection, motion gate, protection, budget and memories at keep 0.5. End to end: median '
        'difference to dense where one token is dropped or nothing can be reused, extra attention '
        'rows included; none for a method that drops more on its own account.',
        columns=(
            ('method', '{name}'),
            ('direct ms', '{direct_p50_ms:.2f}'),
            ('direct %', '{direct_percent:.1f}'),
            ('end to end ms', '{end_to_end_ms:.2f}'),
            ('end to end %', '{end_to_end_percent:.1f}'),
            ('dense ms', '{dense_reasoner_p50_ms:.1f}'),
        ),
    ),
    PageSection(
        '## Shapes of published models',
        'shapes',
        'The language part alone, with random weights and as many visual tokens as said; rows of '
        'one shape ran in turn.',
        ('latency against keep and reuse', SHAPES_PICTURE),
        (
            ('mechanism', '{mechanism}'),
            ('keep', '{keep:g}'),
            ('reuse', '{reuse:g}'),
            ('p50 ms', '{p50_ms:.1f}'),
            ('p95 ms', '{p95_ms:.1f}'),
            ('speed-up', '{speed_up:.2f}x'),
            ('GFLOP', '{gflops:.1f}'),
            ('FLOPs, ratio', '{flops_ratio:.2f}'),
        ),
        groups='{shape}: {layout}. {layers} of {layers_of_model} layers, {dtype}, {device}, '
        '{passes} passes each.',
    ),
    PageSection('## Vision tower', 'vision', hidden=('measurement',), groups='### {measurement}'),
    PageSection(
        '## Through the graph',
        'graph',
        'Whole plan latency is the p50 of perception plus that of the reasoner, from their '
        '`EfficiencyStats`; the conditions ran in turn. A cache that answers most frames makes the '
        'p50 that of a hit, so that the speed-up of the mean times stands beside it.',
        columns=(
            ('condition', '{name}'),
            ('parameters', '{overrides}'),
            *SUCCESS,
            ('dense', '{dense_success_rate:.0%}'),
            ('p', '{p}'),
            ('perception ms', '{perception_p50_ms:.1f}'),
            ('reasoner ms', '{reasoner_p50_ms:.1f}'),
            ('plan ms', '{plan_p50_ms:.1f}'),
            ('speed-up', '{speed_up:.2f}x'),
            ('of means', '{speed_up_of_means:.2f}x'),
        ),
        rows=lambda parts: [described(row) for row in parts.get('graph', ())],
    ),
    PageSection(
        '## Soak',
        'soak',
        '{frames} frames with random accidents: {failures} failures, memory grew by '
        '{memory_growth_mb:.1f} MB after warm-up, {memory_growth_second_half_mb:.1f} MB of it in '
        'the second half, oldest token {oldest_token_s:.2f} s, oldest slot {oldest_slot_s:.2f} s; '
        'caps changed on the way.',
        columns=(('what happened', '{what happened}'), ('times', '{times}')),
        rows=_accidents,
        findings=_soak_failures,
    ),
)
REPORT = Report(
    'tokens.md',
    'Fewer visual tokens',
    SECTIONS,
    (
        Picture(SUCCESS_PICTURE, lambda path, parts: plot_success(path, parts.get('methods', ()))),
        Picture(SHAPES_PICTURE, lambda path, parts: plot_shapes(path, parts.get('shapes', ()))),
    ),
    'evla-nano was trained with random subsets of its visual tokens, so that it knows how to do '
    'with any of them: a random choice is hard to beat on it. Other policies were not, and have no '
    'weights for what is trained: LightVLA chooses untrained there.',
    _finished,
)
