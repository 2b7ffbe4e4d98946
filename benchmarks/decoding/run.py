# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All measurements about heads and decodings, and what a run of them writes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decoding.conditions import CONDITIONS, FLOW, REGRESSION, SHORTCUT, Condition
from benchmarks.decoding.latency import columns, in_turn, record_plans
from benchmarks.threads import threads_of
from benchmarks.tokens.latency import record_scenes
from efficient_vla.action.catalogue import TOKENIZERS
from efficient_vla.action.heads.tokens import load_decoder
from efficient_vla.assembly import HeadFolder
from efficient_vla.bench.conditions import merged
from efficient_vla.bench.evaluate import load_stages
from efficient_vla.bench.job import SINGLE, BaseJob
from efficient_vla.bench.overrides import build_settings, parse_overrides
from efficient_vla.bench.paired import paired_columns, read
from efficient_vla.bench.rows import REFUSALS, REFUSED, Rows, row_key
from efficient_vla.errors import CheckpointError
from efficient_vla.sim.metaworld.tasks import DEMO_TASKS

PICTURE, PAGE = 'decoding.png', 'decoding.md'
FIT_SEED, JUDGE_SEED = 60_000, 50_000
"""First seeds of the experts' episodes; training uses 100,000 and up, evaluation 1000 and up."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything is measured."""

    tasks: tuple[str, ...] = DEMO_TASKS
    episodes: int = 20
    close: int = 3
    """Times as many for two heads that are too close to tell apart with those."""
    max_steps: int = 500
    """Steps after which an episode has failed."""
    frames: int = 16
    """Recorded frames a task, for latencies."""
    rounds: int = 4
    """Times that all heads see them."""
    expert_episodes: int = 8
    """Episodes a task whose chunks tokenizers are judged on."""
    expert_steps: int = 300


QUICK = Sizes(
    tasks=DEMO_TASKS[:1],
    episodes=1,
    close=1,
    max_steps=32,
    frames=5,
    rounds=1,
    expert_episodes=1,
    expert_steps=80,
)
"""Everything once: the numbers say that it runs and no more."""


@dataclass(frozen=True)
class Job(BaseJob):
    """One run: what to measure with what."""

    sizes: Sizes = Sizes()
    _: KW_ONLY
    hardware: str = 'cpu_2core'

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of this run."""
        return super().facts | {'hardware': self.hardware}


def measure_success(job: Job, rows: Rows) -> None:
    """Measure success with every head and decoding, paired with regression."""
    _compare(job, rows, 'success', CONDITIONS, REGRESSION)


def measure_one_step(job: Job, rows: Rows) -> None:
    """Measure success with one distilled step on more episodes, paired with ten steps."""
    conditions = [condition for condition in CONDITIONS if condition.name in (FLOW, SHORTCUT)]
    more = replace(job.sizes, episodes=job.sizes.close * job.sizes.episodes)
    _compare(replace(job, sizes=more), rows, 'one_step', conditions, 'ten_steps')


def measure_latency(job: Job, rows: Rows) -> None:
    """Measure heads and decodings in turn on the same plans; all of them, or none is kept."""
    keys = {condition.name: _latency_key(job, condition) for condition in CONDITIONS}
    if all(rows.done(key) for key in keys.values()):
        return
    job.tell('latency: recording frames')
    sizes = job.sizes
    dense = load_stages(job.policy, build_settings(SINGLE))
    scenes = record_scenes(sizes.tasks, dense.perception.cameras, sizes.frames)
    actors, blendings, refused = {}, {}, {}
    for condition in CONDITIONS:
        try:
            settings = build_settings(merged(SINGLE, parse_overrides(condition.words)))
            actors[condition.name] = load_stages(job.policy, settings).actor
            blendings[condition.name] = settings['controller'].blending.method
        except REFUSALS as error:
            refused[condition.name] = {REFUSED: str(error)}
    with threads_of(job.hardware) as threads:
        situations = record_plans(dense, scenes)
        job.tell(f'latency: {len(actors)} heads on {len(situations)} plans')
        found = in_turn(actors, blendings, situations, sizes.rounds)
    measured = {}
    for condition in CONDITIONS:
        name = condition.name
        values: dict[str, Any] = refused.get(name, {})
        if name in found:
            against = found.get(condition.reference, found[name])
            values = columns(found[name], against, found[REGRESSION])
            values |= {'parameters_mb': actors[name].parameters_mb, 'threads': threads}
        measured[keys[name]] = {**_described(condition), **values}
    rows.add_all('latency', measured)


def measure_tokenizers(job: Job, rows: Rows) -> None:
    """Measure tokens of a chunk against the error of what they stand for."""
    from benchmarks.decoding import tokenizers
    from efficient_vla import checkpoint

    sizes = job.sizes
    config = {
        'tasks': sizes.tasks,
        'episodes': sizes.expert_episodes,
        'steps': sizes.expert_steps,
        'checkpoint': job.checkpoint,
    }
    if rows.done(row_key('tokenizers', **config, row=0)):
        return
    job.tell('tokenizers: chunks of experts')
    card = checkpoint.read_card(job.policy)
    scale = np.array(card.action_scale)
    judged, fitted = (
        tokenizers.expert_chunks(
            sizes.tasks, sizes.expert_episodes, seed, card.horizon, scale, sizes.expert_steps
        )
        for seed in (JUDGE_SEED, FIT_SEED)
    )
    trained = []
    for name in TOKENIZERS:
        if TOKENIZERS[name].whole:
            continue
        try:
            shipped = load_decoder(HeadFolder(job.policy), name, name)[0]
            trained.append((f'{name}, shipped', shipped))
        except CheckpointError as error:
            job.tell(f'not measured: {name}, shipped. {error}')
    found = tokenizers.measure(trained, fitted, judged, scale)
    keyed = {row_key('tokenizers', **config, row=i): row for i, row in enumerate(found)}
    rows.add_all('tokenizers', keyed)


PARTS: dict[str, Callable[[Job, Rows], None]] = {
    'tokenizers': measure_tokenizers,
    'latency': measure_latency,
    'one_step': measure_one_step,
    'success': measure_success,
}
"""Name -> what measures it, the short ones first."""


def write_page(rows: Rows) -> Iterator[Path]:
    """Write the page and its picture beside the rows; yield what was written."""
    from benchmarks.decoding.plots import plot
    from benchmarks.decoding.table import page

    folder = rows.path.parent
    parts = {part: rows.of(part) for part in PARTS}
    if plot(folder / PICTURE, parts):
        yield folder / PICTURE
    if any(parts.values()):
        (folder / PAGE).write_text(page(parts, rows.manifest))
        yield folder / PAGE


def _compare(
    job: Job, rows: Rows, part: str, conditions: Sequence[Condition], first_name: str
) -> None:
    """Measure success with all ``conditions``, paired with the first of them."""
    first = conditions[0]
    keys = {
        condition.name: row_key(part, overrides=condition.words, **job.played)
        for condition in conditions
    }

    def success(condition: Condition) -> dict[str, Any]:
        seen = job.play(condition.words)
        others = condition is not first
        reference = read(rows.get(keys[first.name])['outcomes']) if others else seen
        return paired_columns(seen, reference, first_name, 'this')

    for condition in conditions:
        key = keys[condition.name]
        if rows.done(key):
            continue
        job.tell(f'{part}: {condition.name}')
        rows.measure(
            part,
            key,
            partial(success, condition),
            required=condition is first,
            **_described(condition),
        )


def _latency_key(job: Job, condition: Condition) -> str:
    sizes = job.sizes
    return row_key(
        'latency',
        overrides=condition.words,
        tasks=sizes.tasks,
        frames=sizes.frames,
        rounds=sizes.rounds,
        hardware=job.hardware,
        checkpoint=job.checkpoint,
    )


def _described(condition: Condition) -> dict[str, Any]:
    return {
        'name': condition.name,
        'reference': condition.reference,
        'overrides': ' '.join(condition.words),
    }
