# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run of a benchmark of several parts is given, and what its conditions look like."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tokens.latency import RecordedScene, record_scenes
from efficient_vla.bench.compare import Outcomes, outcomes
from efficient_vla.bench.conditions import OnResult
from efficient_vla.bench.evaluate import IMAGE_SIDE, Request, evaluate
from efficient_vla.bench.manifest import checkpoint_hash, manifest
from efficient_vla.bench.overrides import merged, parse_overrides
from efficient_vla.bench.rows import Rows
from efficient_vla.bringup.fit import image_side
from efficient_vla.sim.metaworld.tasks import DEMO_TASKS

if TYPE_CHECKING:
    from efficient_vla.bench.graph_runner import Observer

SINGLE: dict[str, dict[str, Any]] = {'actor': {'architecture': 'single'}}
"""All these benchmarks drive the architecture that every technique works with."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything is measured."""

    tasks: tuple[str, ...] = DEMO_TASKS
    episodes: int = 20
    """Episodes a task and condition."""
    max_steps: int = 500
    """Steps after which an episode has failed."""
    frames: int = 16
    """Recorded frames a task, for latencies."""
    keeps: tuple[float, ...] = (0.5, 0.25)
    shape_s: float = 90.0
    """Time for the rounds of one shape."""
    soak_frames: int = 10_000
    graph_episodes: int = 4
    graph_blocks: int = 2
    graph_s: float = 6.25
    """Simulated time of an episode through the graph."""
    record_steps: int = 200
    """Steps of a recording of chunks at most; each one asks the policy for a chunk."""
    dummy_s: float = 4.0
    delays_ms: tuple[int, ...] = (0, 100, 200, 300, 400)
    episode_delays_ms: tuple[int, ...] = (0, 100, 200, 400)
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the accidents that chunks meet."""
    timing_s: float = 600.0
    """Time for which the controller runs loaded at 200 Hz; a tenth of it idle at 500 Hz."""
    close: int = 3
    """Times as many episodes for two heads that are too close to tell apart with those."""
    rounds: int = 4
    """Times that all heads see the recorded frames."""
    expert_episodes: int = 8
    """Episodes a task whose chunks tokenizers are judged on."""
    expert_steps: int = 300


QUICK = Sizes(
    tasks=DEMO_TASKS[:1],
    episodes=1,
    max_steps=48,
    frames=5,
    shape_s=0.0,
    delays_ms=(0, 200),
    soak_frames=300,
    graph_episodes=1,
    graph_blocks=1,
    graph_s=2.0,
    record_steps=40,
    episode_delays_ms=(0, 200),
    keeps=(0.5,),
    dummy_s=1.5,
    timing_s=5.0,
    seeds=(0,),
    close=1,
    rounds=1,
    expert_episodes=1,
    expert_steps=80,
)
"""Everything once, in about two minutes: the numbers say that it runs and no more."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to configure the stages."""

    name: str
    words: tuple[str, ...]
    """Parameters as ``node.param=value``."""
    method: str = ''
    kind: str = ''
    """Kind of technique: 'dense', 'pruning', 'reuse', 'cache', 'resampling', 'composition'."""
    keep: float | None = None
    """Share of the visual tokens that is kept; ``None`` where that is not a parameter."""
    reference: str = ''
    """Name of the condition that it is compared with, its own for itself."""


@dataclass(frozen=True)
class Job:
    """One run: what to measure with what."""

    policy: Path
    sizes: Sizes = Sizes()
    _: KW_ONLY
    quick: bool = False
    seed: int = 1000
    render: str = 'fast'
    workers: int = 1
    hardware: str = 'cpu_2core'
    device: str = 'auto'
    composition: tuple[str, ...] = ()
    """Parameters that replace those of the composition; empty for its own."""
    only: Sequence[str] = ()
    """Names of techniques that are measured beside dense; empty for all."""
    peer_python: Path | None = None
    """Interpreter that has LeRobot; without one the part ``peer`` is skipped."""
    display: 'Callable[[int], AbstractContextManager[Observer]] | None' = None
    """Makes what shows a number of episodes of the graph."""
    tell: Callable[[str], None] = lambda text: None

    @cached_property
    def checkpoint(self) -> str:
        """The checkpoint's hash, shortened; rows of another one are measured again."""
        return checkpoint_hash(self.policy)[:12]

    @cached_property
    def scenes(self) -> list[RecordedScene]:
        """Recorded frames, for all latencies of the run."""
        from efficient_vla.policy_folders import folder_facts

        self.tell('recording frames')
        facts = folder_facts(self.policy)
        side = image_side(facts) or IMAGE_SIDE
        return record_scenes(self.sizes.tasks, tuple(facts.cameras), self.sizes.frames, size=side)

    def decided(self, *sizes: str) -> dict[str, Any]:
        """Return what decides about a row: the checkpoint and these of the sizes."""
        return {'checkpoint': self.checkpoint} | {name: getattr(self.sizes, name) for name in sizes}

    @property
    def played(self) -> dict[str, Any]:
        """What decides about the episodes, but for their parameters."""
        found = self.decided('tasks', 'episodes', 'max_steps')
        return found | {'seed': self.seed, 'render': self.render}

    def open_rows(self, path: Path, resume: bool) -> Rows:
        """Return the rows of an output file, with the manifest of this run."""
        facts = {name: getattr(self, name) for name in ('seed', 'render', 'quick', 'hardware')}
        return Rows(path, manifest(self.policy, {}, **facts), resume)

    def play(self, words: Sequence[str], on_result: OnResult | None = None) -> Outcomes:
        """Return (task, seed) -> success with the parameters ``words``, ``node.param=value``."""
        return outcomes(evaluate(self.request(words), on_result))

    def request(self, words: Sequence[str]) -> Request:
        """Return what the episodes with these parameters are."""
        base = merged(SINGLE, {'eval': {'max_steps': self.sizes.max_steps}})
        return Request(
            policy=self.policy,
            tasks=self.sizes.tasks,
            episodes=self.sizes.episodes,
            seed=self.seed,
            overrides=merged(base, parse_overrides(words)),
            render=self.render,
            workers=self.workers,
        )

    def measure(
        self,
        rows: Rows,
        part: str,
        conditions: Iterable[tuple[Condition, str, Mapping[str, Any]]],
        call: Callable[[Condition], Mapping[str, Any]],
        column: str = 'key',
        compared: bool = True,
    ) -> None:
        """Take in the columns that ``call`` returns for conditions whose row lacks ``column``.

        ``conditions`` are a condition, its key and what describes it. Where all are ``compared``
        with the first, that one may not be refused.
        """
        for index, (condition, key, described) in enumerate(conditions):
            if rows.done(key, column):
                continue
            self.tell(f'{part}: {condition.name}')
            rows.measure(
                part,
                key,
                partial(call, condition),
                required=compared and index == 0,
                name=condition.name,
                overrides=' '.join(condition.words),
                **described,
            )
