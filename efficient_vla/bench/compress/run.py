# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Search, confirm and write: what `efficient-vla compress` does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from statistics import median
from typing import Any

from benchmarks.compute.decisions import load, measure_latency
from benchmarks.job import Job
from benchmarks.threads import threads_of
from efficient_vla.bench.compare import Outcomes, paired_columns
from efficient_vla.bench.compress.economies import Economy, economies, name_of, words_of
from efficient_vla.bench.compress.search import STAGES, Cost, compositions, front, measured
from efficient_vla.bench.rows import REFUSALS
from efficient_vla.errors import UsageError
from efficient_vla.policy import Policy

AT_ONCE = 6
"""Compositions that are measured before the next ones are predicted."""
ROUNDS = 3
GUESSES = 2000
"""Predicted compositions that are looked through in a round."""
TIGHTER = 0.85
"""The budget of the next round, where the guesses of the last one were too good."""


@dataclass(slots=True)
class Findings:
    """What the search has come to."""

    dense: Cost
    singles: list[Cost] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Economy -> why it cannot be."""
    together: list[Cost] = field(default_factory=list)
    confirmed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name of a composition -> success beside dense, in the order of the trials."""
    chosen: Cost | None = None

    @property
    def dense_ms(self) -> float:
        """Mean decision of dense: the median over all that ran in turn with it."""
        costs = (self.dense, *self.singles, *self.together)
        return median(cost.columns['dense_decision_mean_ms'] for cost in costs)

    @property
    def front(self) -> list[Cost]:
        """All measured ones that no other beats, the fastest first."""
        return front([self.dense, *self.singles, *self.together])


class Search:
    """One run for one policy on this machine."""

    def __init__(self, job: Job, budget_ms: float, max_drop: float, tries: int) -> None:
        """Look for a mean decision of ``budget_ms`` at no more than ``max_drop`` points."""
        self.job, self.budget_ms, self.max_drop, self.tries = job, budget_ms, max_drop, tries
        self._apart: set[frozenset[str]] = set()
        """Pairs of options that refuse each other, by name."""

    def run(self) -> Findings:
        """Return what was found; ``chosen`` is ``None`` where nothing met budget and drop."""
        with threads_of(self.job.hardware):
            found = Findings(self._cost(()))
            self._refuse_useless(found.dense_ms)
            offered = economies()
            for number, option in enumerate(offered, 1):
                self._try(found, (option,), found.singles, f'{number} of {len(offered)}, ')
            self._compose(found)
        self._confirm(found)
        return found

    def _refuse_useless(self, dense_ms: float) -> None:
        if dense_ms <= self.budget_ms:
            raise UsageError(
                f'--budget-ms is {self.budget_ms:g}, and the policy as it is takes {dense_ms:.1f} '
                'ms a decision here; expected less than that. Use the folder as it is.'
            )

    def _cost(self, chosen: tuple[Economy, ...]) -> Cost:
        stages = load(self.job.policy, words_of(chosen))
        return measured(chosen, measure_latency(self._dense, stages, self.job.scenes))

    @cached_property
    def _dense(self) -> Policy:
        return load(self.job.policy)

    def _try(
        self, found: Findings, chosen: tuple[Economy, ...], into: list[Cost], before: str = ''
    ) -> None:
        name = name_of(chosen)
        try:
            cost = self._cost(chosen)
        except REFUSALS as error:
            found.refused[name] = str(error)
            self.job.tell(f'{before}{name}: refused. {error}')
            return
        into.append(cost)
        self.job.tell(
            f'{before}{name}: {cost.share:.2f} of {cost.columns["dense_decision_mean_ms"]:.1f} ms, '
            f'gap {cost.gap_mm:.1f} mm'
        )

    def _compose(self, found: Findings) -> None:
        """Measure predicted compositions until some fit, each round with a tighter budget."""
        budget = self.budget_ms / found.dense_ms
        tried: set[str] = set()
        dense_ms = {stage: found.dense.columns[f'{stage}_mean_ms'] for stage in STAGES}
        for _ in range(ROUNDS):
            enough = len(found.together) + AT_ONCE
            for guess in compositions(found.singles, dense_ms, budget, GUESSES):
                if len(found.together) == enough:
                    break
                if len(guess.options) < 2 or guess.name in tried or self._refused(guess.options):
                    continue
                tried.add(guess.name)
                before = len(found.together)
                self._try(found, guess.options, found.together)
                if len(found.together) == before:
                    self._learn(guess.options)
            if any(self._fitting(found)):
                return
            budget *= TIGHTER

    def _refused(self, options: tuple[Economy, ...]) -> bool:
        """Return whether two of the options are known to refuse each other."""
        pairs = combinations([option.name for option in options], 2)
        return any(frozenset(pair) in self._apart for pair in pairs)

    def _learn(self, options: tuple[Economy, ...]) -> None:
        """Find which two of these options refuse each other, so that no guess has them again."""
        for pair in combinations(options, 2):
            try:
                load(self.job.policy, words_of(pair))
            except REFUSALS:
                self._apart.add(frozenset(option.name for option in pair))

    def _fitting(self, found: Findings) -> Iterator[Cost]:
        """Yield what met the budget, the least gap first."""
        costs: Sequence[Cost] = [*found.singles, *found.together]
        for cost in sorted(costs, key=lambda cost: cost.gap_mm):
            if cost.share * found.dense_ms <= self.budget_ms:
                yield cost

    def _confirm(self, found: Findings) -> None:
        """Play paired episodes with what fits until one keeps success."""
        fitting = list(self._fitting(found))[: self.tries]
        if not fitting:
            return
        self.job.tell('episodes: dense')
        dense: Outcomes = self.job.play(())
        found.confirmed[found.dense.name] = paired_columns(dense, dense)
        for cost in fitting:
            self.job.tell(f'episodes: {cost.name}')
            success = paired_columns(self.job.play(cost.words), dense)
            drop = 100 * (success['dense_success_rate'] - success['success_rate'])
            found.confirmed[cost.name] = success | {'drop_points': drop}
            self.job.tell(f'{cost.name}: {success["success_rate"]:.0%}, {drop:+.1f} points lost')
            if drop <= self.max_drop:
                found.chosen = cost
                return
