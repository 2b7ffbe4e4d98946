# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The page ``decoding.md``: tables of `efficient-vla bench decoding`, and what was asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.decoding.conditions import CONSISTENCY, EXACT, FLOW, SHORTCUT

Row = Mapping[str, Any]
ONE_STEP_POINTS, ONE_STEP_SPEED_UP = 2.0, 5.0
CONSISTENCY_SPEED_UP = 2.5
FEWER_TOKENS = 5.0
ERROR_MM = 1.0
"""What was asked for at least, or at most."""
REFUSED = 'refused'


def page(parts: Mapping[str, Sequence[Row]], manifest: Mapping[str, Any]) -> str:
    """Return the page in Markdown; parts without rows are left out.

    A quick run is not judged against what was asked for.
    """
    machine = manifest['machine']
    lines = [
        '# Heads and decodings',
        '',
        f'Made by `{manifest["command"]}` on {machine["cores"]} cores of {machine["cpu"]}, commit '
        f'`{str(manifest["git_commit"])[:12]}`. Every number is in the JSON file beside this page.',
    ]
    if manifest['quick']:
        lines += ['', 'A quick run: it shows that everything runs, and its numbers mean nothing.']
    latency = {row['name']: row for row in parts['latency']}
    success = {row['name']: row for row in parts['success']}
    if latency or success:
        lines += ['', *_heads(latency, success)]
    if parts['tokenizers']:
        lines += ['', *_tokenizers(parts['tokenizers'])]
    if not manifest['quick']:
        lines += ['', *_asked(latency, success, parts)]
    return '\n'.join(lines) + '\n'


def _heads(latency: Mapping[str, Row], success: Mapping[str, Row]) -> list[str]:
    lines = [
        '## Every head and decoding',
        '',
        'Success is paired with regression on the same episodes, inference taking no simulated '
        'time. Latency is that of the whole head on recorded plans, all heads in turn. Steps are '
        'passes through the network (diffusion: whole ones). Same: chunks that equal those of the '
        'reference exactly; gap: how far the two paths of 0.5 s are apart at most.',
        '',
        '| | success | 95 % interval | head p50 ms | p95 ms | steps | same as reference | '
        'gap mean mm | gap max mm |',
        '|---|---|---|---|---|---|---|---|---|',
    ]
    for name in dict.fromkeys([*latency, *success]):
        lines.append(f'| {name} | {_success(success.get(name))} | {_latency(latency.get(name))} |')
    for row in [*latency.values(), *success.values()]:
        if REFUSED in row:
            lines += ['', f'Not measured: {row["name"]}. {row[REFUSED]}']
    return lines


def _success(row: Row | None) -> str:
    if row is None or 'success_rate' not in row:
        return '- | -'
    return (
        f'{100 * row["success_rate"]:.0f} % | '
        f'{100 * row["ci_low"]:.0f}-{100 * row["ci_high"]:.0f} %'
    )


def _latency(row: Row | None) -> str:
    if row is None or 'head_p50_ms' not in row:
        return '- | - | - | - | - | -'
    cells = [f'{row["head_p50_ms"]:.2f}', f'{row["head_p95_ms"]:.2f}', f'{row["steps"]:.1f}']
    if row['reference'] == row['name']:
        return ' | '.join([*cells, '-', '-', '-'])
    cells += [f'{100 * row["same_chunks"]:.1f} % of {row["reference"]}']
    return ' | '.join([*cells, f'{row["gap_mean_mm"]:.2f}', f'{row["gap_max_mm"]:.2f}'])


def _tokenizers(rows: Sequence[Row]) -> list[str]:
    lines = [
        '## Tokens of a chunk',
        '',
        f'{rows[0]["chunks"]} chunks of 40 rows of noise-free experts, of episodes that nothing '
        'was fitted on. Error: how far the path of the decoded chunk is from the true one at most.',
        '',
        '| | vocabulary | tokens, mean | most | error mean mm | p95 mm | max mm |',
        '|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        lines.append(
            f'| {row["name"]} | {row["vocabulary"]} | {row["tokens_mean"]:.1f} | '
            f'{row["tokens_max"]} | {row["path_error_mean_mm"]:.2f} | '
            f'{row["path_error_p95_mm"]:.2f} | {row["path_error_max_mm"]:.2f} |'
        )
    return lines


def _asked(
    latency: Mapping[str, Row], success: Mapping[str, Row], parts: Mapping[str, Sequence[Row]]
) -> list[str]:
    lines = ['## Asked for', '', '| what | asked | found |', '|---|---|---|']
    closer = {row['name']: row for row in parts['one_step']}
    for found in (success, closer):
        one, ten = found.get(SHORTCUT, {}), found.get(FLOW, {})
        if 'success_rate' in one and 'success_rate' in ten:
            points = 100 * (one['success_rate'] - ten['success_rate'])
            lines.append(
                f'| one distilled step against ten, success in {one["episodes"]} episodes | '
                f'at least -{ONE_STEP_POINTS:g} points | {points:+.1f} points |'
            )
    one = latency.get(SHORTCUT, {})
    if 'speed_up' in one:
        lines.append(
            f'| the same, head time | {ONE_STEP_SPEED_UP:g} times less | '
            f'{one["speed_up"]:.1f} times less |'
        )
    for row in latency.values():
        if any(row['name'].endswith(f', {method}') for method in EXACT) and 'same_chunks' in row:
            lines.append(
                f'| {row["name"]}, as autoregressive | all chunks | '
                f'{round(row["same_chunks"] * row["plans"])} of {row["plans"]}, '
                f'{row["speed_up"]:.1f} times faster |'
            )
    few = latency.get(CONSISTENCY, {})
    if 'speed_up' in few:
        lines.append(
            f'| {CONSISTENCY}, against autoregressive | {CONSISTENCY_SPEED_UP:g} times faster | '
            f'{few["speed_up"]:.1f} times, gap {few["gap_mean_mm"]:.2f} mm |'
        )
    named = {row['name']: row for row in parts['tokenizers']}
    if 'fast, shipped' in named:
        fast, bins = named['fast, shipped'], named['bins, shipped']
        lines.append(
            f'| FAST against bins at {ERROR_MM:g} mm | {FEWER_TOKENS:g} times fewer tokens | '
            f'{bins["tokens_mean"] / fast["tokens_mean"]:.1f} times, at '
            f'{fast["path_error_mean_mm"]:.2f} mm mean and {fast["path_error_p95_mm"]:.2f} mm p95 |'
        )
    return lines
