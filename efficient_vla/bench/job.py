# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run of a benchmark of several parts is given."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from efficient_vla.bench.compare import Outcomes, outcomes
from efficient_vla.bench.conditions import OnResult, merged
from efficient_vla.bench.evaluate import Request, evaluate
from efficient_vla.bench.manifest import checkpoint_hash, manifest
from efficient_vla.bench.overrides import parse_overrides
from efficient_vla.bench.rows import Rows

SINGLE: dict[str, dict[str, Any]] = {'actor': {'architecture': 'single'}}
"""All these benchmarks drive the architecture that every technique works with."""


class Sized(Protocol):
    """How many episodes are played."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Meta-World tasks."""

    @property
    def episodes(self) -> int:
        """Episodes a task."""

    @property
    def max_steps(self) -> int:
        """Steps after which an episode has failed."""


@dataclass(frozen=True)
class BaseJob:
    """One run: what to measure with what."""

    policy: Path
    sizes: Sized
    _: KW_ONLY
    quick: bool = False
    seed: int = 1000
    render: str = 'fast'
    workers: int = 1
    tell: Callable[[str], None] = lambda text: None

    @cached_property
    def checkpoint(self) -> str:
        """The checkpoint's hash, shortened; rows of another one are measured again."""
        return checkpoint_hash(self.policy)[:12]

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of this run."""
        return {'seed': self.seed, 'render': self.render, 'quick': self.quick}

    @property
    def played(self) -> dict[str, Any]:
        """What decides about the episodes, but for their parameters."""
        return {
            'tasks': self.sizes.tasks,
            'episodes': self.sizes.episodes,
            'max_steps': self.sizes.max_steps,
            'seed': self.seed,
            'render': self.render,
            'checkpoint': self.checkpoint,
        }

    def open_rows(self, path: Path, resume: bool) -> Rows:
        """Return the rows of an output file, with the manifest of this run."""
        return Rows(path, manifest(self.policy, {}, **self.facts), resume)

    def play(self, words: Sequence[str], on_result: OnResult | None = None) -> Outcomes:
        """Return (task, seed) -> success with the parameters ``words``, ``node.param=value``."""
        base = merged(SINGLE, {'eval': {'max_steps': self.sizes.max_steps}})
        request = Request(
            policy=self.policy,
            tasks=self.sizes.tasks,
            episodes=self.sizes.episodes,
            seed=self.seed,
            overrides=merged(base, parse_overrides(words)),
            render=self.render,
            workers=self.workers,
        )
        return outcomes(evaluate(request, on_result))
