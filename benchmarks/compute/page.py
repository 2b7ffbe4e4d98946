# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The page ``compute.md`` and its picture: tables of `efficient-vla bench compute`."""

from pathlib import Path

from benchmarks.pictures import colors_of, draw, drawn, label, success_point
from benchmarks.report import SUCCESS, PageSection, Parts, Picture, Report, Row
from efficient_vla.bench.rows import REFUSED

PICTURE = 'compute.png'
MEASURED = {'resident_mb', 'decision_ratio', 'success_rate'}


def _whole(row: Row) -> bool:
    """Return whether a row has memory, cost and success, which come apart."""
    return REFUSED not in row and row.keys() >= MEASURED


def _methods(parts: Parts) -> list[Row]:
    return [
        {
            **row,
            'mean_ratio': row['decision_mean_ms'] / row['dense_decision_mean_ms'],
            'weights_ratio': row['dense_weights_mb'] / row['weights_mb'],
        }
        for row in parts.get('methods', ())
    ]


def plot(path: Path, parts: Parts) -> bool:
    """Draw success against latency, a panel a policy; return whether there was anything."""
    rows = parts.get('methods', ())
    if not rows:
        return False
    policies = list(dict.fromkeys(row['policy'] for row in rows))
    colors = colors_of(row['kind'] for row in rows)
    with drawn(path, 1, len(policies), figsize=(7.5 * len(policies), 6)) as (figure, axes):
        shown = []
        for axis, policy in zip(axes[0], policies, strict=True):
            points = [
                success_point(row['decision_ratio'], row, row['name'], colors[row['kind']])
                for row in rows
                if row['policy'] == policy
            ]
            draw(axis, points)
            axis.set(title=policy, xlabel='latency of a decision, p50 as a share of dense')
            axis.set(ylabel='success, with 95 % interval')
            shown.append((axis, points))
        figure.tight_layout()
        for axis, points in shown:
            label(axis, points)
    return True


SECTIONS = (
    PageSection(
        '## Every technique',
        'methods',
        'Success is paired with dense by task and seed ({episodes} episodes, exact McNemar test), '
        'inference taking no simulated time. Latencies are on recorded frames of a scripted '
        'expert, dense and the technique in turn in one process; a decision is perception, '
        'reasoner and actor of one frame, and the ratio of means counts what a cache or an early '
        'exit saves only now and then. Weights: bytes that the stages hold. Resident: memory of a '
        'process of its own on top of its imports. Gap: how far the paths of a chunk of dense and '
        'of the technique, of the same frame, are apart at most.',
        ('success against latency', PICTURE),
        (
            ('', '{name}'),
            *SUCCESS,
            ('only dense / only it', '{only_dense} / {only_method}'),
            ('p', '{p_value:.2f}'),
            ('decision ms p50 / p95', '{decision_p50_ms:.1f} / {decision_p95_ms:.1f}'),
            ('ratio', '{decision_ratio:.2f}'),
            ('of means', '{mean_ratio:.2f}'),
            ('perception', '{perception_ratio:.2f}'),
            ('reasoner', '{reasoner_ratio:.2f}'),
            ('actor', '{actor_ratio:.2f}'),
            ('weights MB', '{weights_mb:.1f}'),
            ('times smaller', '{weights_ratio:.1f}'),
            ('resident MB', '{resident_mb:.0f}'),
            ('gap mean / max mm', '{gap_mean_mm:.2f} / {gap_max_mm:.2f}'),
        ),
        rows=_methods,
        groups='**{policy}** on {tasks}, {threads} thread(s)',
    ),
)
REPORT = Report(
    'compute.md', 'Less computation a decision', SECTIONS, (Picture(PICTURE, plot),), whole=_whole
)
