# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Live display of episodes in the running graph."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from efficient_vla.records import STAGES, EpisodeResult

if TYPE_CHECKING:
    from efficient_vla.nodes.client.graph_listener import LiveView

REFRESHES_S = 4


class LiveObserver:
    """Shows task, instruction, stage rates, plan age and success; use as a context manager.

    On a terminal the picture refreshes in place; elsewhere only finished episodes are printed.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self.results: list[EpisodeResult] = []
        self._headline = Text('starting the nodes')
        self._states: Mapping[str, str] = {}
        self._view: LiveView | None = None
        self._started = False
        self._live = Live(
            console=console,
            refresh_per_second=REFRESHES_S,
            transient=True,
            get_renderable=self._render,
        )

    def __enter__(self) -> 'LiveObserver':
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def starting(self, states: Mapping[str, str]) -> None:
        """Take the newest lifecycle states of the nodes."""
        self._states = states

    def event(self, text: str) -> None:
        """Print what happened to a process."""
        self._console.print(text, style='yellow', markup=False, soft_wrap=True)

    def start(self, task: str, seed: int, instruction: str) -> None:
        """Show which episode runs."""
        self._started = True
        number = len(self.results) + 1
        self._headline = Text.assemble(
            (f'episode {number} of {self._total}  ', 'dim'),
            (instruction, 'bold'),
            (f'  {task}, seed {seed}', 'dim'),
        )

    def tick(self, view: 'LiveView') -> None:
        """Take the newest reports."""
        self._view = view

    def finish(self, result: EpisodeResult, frames: list[tuple[float, np.ndarray]]) -> None:
        """Print how an episode ended."""
        self.results.append(result)
        mark = ('success', 'green') if result.success else ('failed ', 'red')
        self._console.print(
            Text.assemble(
                mark,
                f'  {result.duration_s:5.2f} s  {result.task:<18} ',
                (result.instruction, 'bold'),
                ('' if result.success else f'  {result.message}', 'dim'),
            ),
            soft_wrap=True,
        )

    def _render(self) -> Group:
        view = self._view
        if view is None or not self._started:
            states = (f'{name} {label}' for name, label in self._states.items())
            return Group(self._headline, Text('   '.join(states), 'dim'))
        done = sum(result.success for result in self.results)
        line = Text.assemble(
            'controller ',
            (view.state, 'bold'),
            f' at {view.control_hz:.0f} Hz',
            f'   plan age {_seconds(view.plan_age_s)}',
            f'   underruns {view.underruns}',
            f'   success {done} of {len(self.results)}',
        )
        return Group(self._headline, line, _rates(view))


def _rates(view: 'LiveView') -> Table:
    names = [name for name in STAGES if name in view.rates_hz]
    table = Table.grid(padding=(0, 3))
    table.add_row(*(Text(name, 'dim') for name in names))
    table.add_row(*(_cost(view.rates_hz[name], view.latency_ms[name]) for name in names))
    return table


def _cost(rate: float, latency_ms: float) -> str:
    latency = f', {latency_ms:.0f} ms' if np.isfinite(latency_ms) else ''
    return f'{rate:.1f} Hz{latency}' if np.isfinite(rate) else '-'


def _seconds(value: float) -> str:
    return f'{value:.2f} s' if np.isfinite(value) else '-'
