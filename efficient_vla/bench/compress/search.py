# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which options together meet a budget: from the costs of each alone to few that are measured."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from efficient_vla.bench.compress.economies import Economy, name_of, words_of

STAGES = ('perception', 'reasoner', 'actor')
OF_ONE_DIMENSION = 5
"""Economies of a dimension that compositions are made of at most."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What some options cost, measured or predicted."""

    options: tuple[Economy, ...]
    share: float
    """Mean time of a whole decision as a share of that of dense, which ran in turn with it."""
    gap_mm: float
    """How far the paths of its chunks are from those of dense, mean."""
    shares: Mapping[str, float]
    """Stage -> its mean time as a share of that of dense."""
    columns: Mapping[str, Any]
    """All that was measured; empty of a prediction."""

    @property
    def name(self) -> str:
        """The options by their names."""
        return name_of(self.options)

    @property
    def words(self) -> tuple[str, ...]:
        """Parameters as ``node.param=value``."""
        return words_of(self.options)


def measured(options: tuple[Economy, ...], columns: Mapping[str, Any]) -> Cost:
    """Return the cost that a measurement beside dense found."""
    shares = {
        stage: columns[f'{stage}_mean_ms'] / columns[f'dense_{stage}_mean_ms'] for stage in STAGES
    }
    share = columns['decision_mean_ms'] / columns['dense_decision_mean_ms']
    return Cost(options, share, columns['gap_mean_mm'], shares, columns)


def front(costs: Iterable[Cost]) -> list[Cost]:
    """Return those that no other one beats in both time and gap, the fastest first."""
    found: list[Cost] = []
    for cost in sorted(costs, key=lambda cost: (cost.share, cost.gap_mm)):
        if not found or cost.gap_mm < found[-1].gap_mm:
            found.append(cost)
    return found


def compositions(
    singles: Sequence[Cost], dense_ms: Mapping[str, float], budget: float, count: int
) -> list[Cost]:
    """Return the ``count`` compositions within the budget with the least predicted gap.

    ``dense_ms`` is the mean time of each stage, and the budget a share of their sum. Shares of a
    stage multiply and gaps add as independent ones do; both are guesses that a measurement has to
    confirm.
    """
    by_dimension: dict[str, list[Cost]] = {}
    for single in singles:
        by_dimension.setdefault(single.options[0].dimension, []).append(single)
    choices = [[None, *_spread(front(costs))] for costs in by_dimension.values()]
    fitting = []
    for chosen in product(*choices):
        parts = [part for part in chosen if part is not None]
        shares = {stage: math.prod(part.shares[stage] for part in parts) for stage in STAGES}
        spent = sum(dense_ms[stage] * shares[stage] for stage in STAGES) / sum(dense_ms.values())
        if spent <= budget:
            options = tuple(option for part in parts for option in part.options)
            gap = math.hypot(*(part.gap_mm for part in parts))
            fitting.append(Cost(options, spent, gap, shares, {}))
    return sorted(fitting, key=lambda cost: (cost.gap_mm, cost.share))[:count]


def _spread(costs: Sequence[Cost]) -> list[Cost]:
    """Return few of the costs, the first and the last among them, evenly apart."""
    count = min(len(costs), OF_ONE_DIMENSION)
    last = len(costs) - 1
    return [costs[round(index * last / max(count - 1, 1))] for index in range(count)]
