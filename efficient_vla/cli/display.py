# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Progress and tables on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from efficient_vla.records import EpisodeResult

console = Console(highlight=False)


@contextmanager
def episode_progress(total: int) -> Iterator[Callable[[EpisodeResult], None]]:
    """Show a progress bar with the success rate so far; yields what takes a finished episode."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn())
    outcomes: list[bool] = []
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task('episodes', total=total)

        def add(result: EpisodeResult) -> None:
            outcomes.append(result.success)
            rate = sum(outcomes) / len(outcomes)
            bar.update(task, advance=1, description=f'{result.task}  success so far {rate:.0%}')

        yield add


def show_report(found: dict[str, Any]) -> None:
    """Print the tables of a result."""
    console.print(task_table(found))
    console.print(stage_table(found))


def task_table(found: dict[str, Any]) -> Table:
    """Return success by task."""
    table = _table('task', 'success', 'episodes', '95 % interval', 'time to success')
    for task, row in found['tasks'].items():
        seconds = row['time_to_success_s']
        table.add_row(
            task,
            *_success(row),
            f'{seconds:.2f} s' if seconds is not None else '-',
        )
    table.add_section()
    table.add_row('mean of tasks', f'{found["success_rate"]:.1%}')
    return table


def stage_table(found: dict[str, Any]) -> Table:
    """Return what each stage cost; kept are tokens of all tokens, means a pass."""
    table = _table('stage', 'p50 ms', 'p95 ms', 'Hz', 'kept', 'reused', 'weights', 'resident')
    for stage, row in found['stages'].items():
        latency = row['latency_ms']
        table.add_row(
            stage,
            f'{latency["p50"]:.1f}',
            f'{latency["p95"]:.1f}',
            f'{found["rates_hz"][stage]:.1f}',
            _tokens(row),
            _number(row, 'tokens_reused'),
            _megabytes(row, 'parameters_mb'),
            _megabytes(row, 'resident_mb'),
        )
    return table


def variant_table(variants: dict[str, Any]) -> Table:
    """Return one row for each technique and stage; ratio is the p50 to that of dense."""
    table = _table('technique', 'stage', 'p50 ms', 'p95 ms', 'ratio', 'kept', 'reused', 'weights')
    for variant, stages in variants.items():
        for stage, row in stages.items():
            ratio = row.get('p50_to_dense')
            table.add_row(
                variant if stage == next(iter(stages)) else '',
                stage,
                f'{row["latency_ms"]["p50"]:.1f}',
                f'{row["latency_ms"]["p95"]:.1f}',
                f'{ratio:.2f}' if ratio is not None else '-',
                _tokens(row),
                _number(row, 'tokens_reused'),
                _megabytes(row, 'parameters_mb'),
            )
        table.add_section()
    return table


def success_table(rows: list[dict[str, Any]]) -> Table:
    """Return one row for each condition: its names, success and, where there is one, p value."""
    words = [name for name, value in rows[0].items() if isinstance(value, str)]
    paired = 'p_value' in rows[0]
    table = _table(
        words[0], *words[1:], 'success', 'episodes', '95 % interval', *(['p'] if paired else [])
    )
    for column in table.columns[1 : len(words)]:
        column.no_wrap, column.justify = False, 'left'
    for row in rows:
        table.add_row(
            *(row[name] for name in words),
            *_success(row),
            *([f'{row["p_value"]:.3f}'] if paired else []),
        )
    return table


def comparison_table(found: dict[str, Any]) -> Table:
    """Return the paired success of two evaluations."""
    table = _table('task', 'pairs', 'first', 'second', 'only first', 'only second', 'p')
    for task, row in found.items():
        table.add_row(
            task,
            str(row['pairs']),
            f'{row["first"]:.0%}',
            f'{row["second"]:.0%}',
            str(row['only_first']),
            str(row['only_second']),
            f'{row["p_value"]:.3f}',
        )
    return table


def parity_table(rows: list[dict[str, Any]], limit: float) -> Table:
    """Return one row a folder: its largest errors, and whether they are below the limit."""
    table = _table('folder', 'type', 'chunk', 'largest', 'of', 'equal')
    for row in rows:
        worst = max(row['errors'], key=row['errors'].get)
        table.add_row(
            Path(row['folder']).name,
            row['policy_type'],
            f'{row["max_error"]:.1e}',
            f'{row["errors"][worst]:.1e}',
            worst,
            'yes' if row['max_error'] <= limit else 'no',
        )
    return table


def policy_table(rows: list[dict[str, Any]]) -> Table:
    """Return one row a folder and side: load time, memory, median times [ms], the difference."""
    stages = ('perception', 'reasoner', 'actor', 'total')
    table = _table('folder', 'side', 'load s', 'peak MB', *stages, 'apart')
    for row in rows:
        for side, apart in (('ours', ''), ('tuned', 'tuned_error'), ('peer', 'max_error')):
            found = row.get(side, {})
            if 'stages' not in found:
                continue
            times = [found['stages'].get(stage, {}).get('p50_ms') for stage in stages]
            table.add_row(
                row['folder'],
                side,
                f'{found["load_s"]:.2f}',
                f'{found["peak_mb"]:.0f}',
                *('-' if time is None else f'{time:.1f}' for time in times),
                f'{row[apart]:.1e}' if apart else '',
            )
    return table


def _table(name: str, *columns: str) -> Table:
    """Return an empty table whose first column holds names and whose others hold numbers."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    # Where the terminal is narrow, the name is folded and no number cut.
    table.add_column(name, overflow='fold')
    for column in columns:
        table.add_column(column, justify='left' if column == 'stage' else 'right', no_wrap=True)
    return table


def _success(row: dict[str, Any]) -> tuple[str, str, str]:
    low, high = row['ci95']
    return f'{row["success_rate"]:.0%}', str(row['episodes']), f'{low:.0%} to {high:.0%}'


def _number(row: dict[str, Any], name: str) -> str:
    return f'{row[name]:.0f}' if name in row else '-'


def _megabytes(row: dict[str, Any], name: str) -> str:
    return f'{row[name]:.0f} MB' if row.get(name) else '-'


def _tokens(row: dict[str, Any]) -> str:
    if 'tokens_total' not in row:
        return '-'
    return f'{row["tokens_kept"]:.0f}/{row["tokens_total"]:.0f}'
