# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All measurements about visual tokens: which parts there are, and what a run of them writes."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.threads import threads_of
from benchmarks.tokens.conditions import COMPOSITION, DENSE, KEEPS, Condition, conditions
from benchmarks.tokens.latency import Scene, record_scenes
from efficient_vla.bench.job import SINGLE, BaseJob
from efficient_vla.bench.overrides import parse_overrides
from efficient_vla.bench.paired import paired_columns, read
from efficient_vla.bench.rows import Rows, row_key
from efficient_vla.sim.metaworld.tasks import DEMO_TASKS

if TYPE_CHECKING:
    from efficient_vla.bench.graph_runner import Observer

SUCCESS_PICTURE = 'tokens_success.png'
SHAPES_PICTURE = 'tokens_shapes.png'
PAGE = 'tokens.md'


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything is measured."""

    tasks: tuple[str, ...] = DEMO_TASKS
    episodes: int = 20
    keeps: tuple[float, ...] = KEEPS
    max_steps: int = 500
    """Steps after which an episode has failed."""
    frames: int = 16
    """Recorded frames a task, for latencies."""
    shape_s: float = 90.0
    """Time for the rounds of one shape."""
    soak_frames: int = 10_000
    graph_episodes: int = 4
    graph_blocks: int = 2
    graph_s: float = 6.25
    """Simulated time of an episode through the graph."""


QUICK = Sizes(
    tasks=DEMO_TASKS[:1],
    episodes=2,
    keeps=(0.5,),
    max_steps=48,
    frames=5,
    shape_s=0.0,
    soak_frames=300,
    graph_episodes=1,
    graph_blocks=1,
    graph_s=2.0,
)
"""Everything once, in about two minutes: the numbers say that it runs and no more."""


@dataclass(frozen=True)
class Job(BaseJob):
    """One run: what to measure with what."""

    sizes: Sizes = Sizes()
    _: KW_ONLY
    device: str = 'auto'
    hardware: str = 'cpu_2core'
    composition: tuple[str, ...] = COMPOSITION
    display: 'Callable[[int], AbstractContextManager[Observer]] | None' = None
    """Makes what shows a number of episodes of the graph."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of this run."""
        return super().facts | {'hardware': self.hardware}

    @cached_property
    def scenes(self) -> list[Scene]:
        """Recorded frames, for all latencies of the run."""
        from efficient_vla.checkpoint import read_card

        self.tell('recording frames')
        cameras = read_card(self.policy).cameras
        return record_scenes(self.sizes.tasks, cameras, self.sizes.frames)


def measure_methods(job: Job, rows: Rows) -> None:
    """Measure cost and success of every technique, dense first.

    Costs come first, one after the other: the episodes, which take long, do not depend on time.
    """
    from benchmarks.tokens.cost import measure_cost

    def cost(condition: Condition) -> dict[str, Any]:
        with threads_of(job.hardware) as threads:
            found = measure_cost(job.policy, SINGLE, condition, job.scenes)
        return found | {'threads': threads}

    def success(condition: Condition) -> dict[str, Any]:
        seen = job.play(condition.words)
        dense = seen if condition.kind == DENSE else read(rows.get(dense_key)['outcomes'])
        return paired_columns(seen, dense)

    chosen = conditions(job.sizes.keeps, job.composition)
    dense_key = _method_key(job, chosen[0])
    for title, measure, column in (
        ('cost', cost, 'plan_p50_ms'),
        ('success', success, 'success_rate'),
    ):
        for condition in chosen:
            key = _method_key(job, condition)
            if rows.done(key, column):
                continue
            job.tell(f'methods: {title} of {condition.name}')
            rows.measure(
                'methods',
                key,
                partial(measure, condition),
                required=condition.kind == DENSE,
                **_described(job, condition),
            )


def _method_key(job: Job, condition: Condition) -> str:
    config = {'overrides': condition.words, 'frames': job.sizes.frames}
    return row_key('methods', **config, **job.played)


def _described(job: Job, condition: Condition) -> dict[str, Any]:
    return {
        'name': condition.name,
        'kind': condition.kind,
        'method': condition.method,
        'keep': condition.keep,
        'overrides': ' '.join(condition.words),
        'tasks': ','.join(job.sizes.tasks),
        'seed': job.seed,
        'render': job.render,
        'max_steps': job.sizes.max_steps,
    }


def measure_overheads(job: Job, rows: Rows) -> None:
    """Measure what every selector and reuse method costs beside the pass."""
    from benchmarks.tokens.overhead import measure_overhead, measured_methods

    sizes = job.sizes
    for method in measured_methods():
        key = row_key(
            'overhead',
            method=method,
            tasks=sizes.tasks,
            frames=sizes.frames,
            checkpoint=job.checkpoint,
        )
        if rows.done(key):
            continue
        job.tell(f'overhead: {method}')
        with threads_of(job.hardware) as threads:
            rows.measure(
                'overhead',
                key,
                partial(measure_overhead, job.policy, method, job.scenes),
                name=method,
                method=method,
                threads=threads,
            )


def measure_shapes(job: Job, rows: Rows) -> None:
    """Measure the language parts of published models against keep and reuse."""
    from benchmarks.tokens.shapes import (
        CASES,
        SHAPES,
        TINY,
        device_name,
        measure_shape,
        pick_device,
    )

    device = pick_device(job.device)
    where = device_name(device)
    for shape in (TINY,) if job.quick else SHAPES:
        if device.type == 'cuda' and shape.quantization != 'none':
            continue
        config = {'shape': shape.name, 'device': where, 'seconds': job.sizes.shape_s}
        keys = [row_key('shapes', **config, case=dataclasses.astuple(case)) for case in CASES]
        if all(rows.done(key) for key in keys):
            continue
        job.tell(f'shapes: {shape.name} on {where}')
        found = measure_shape(shape, device, job.sizes.shape_s)
        rows.add_all('shapes', dict(zip(keys, found, strict=True)))


def measure_vision(job: Job, rows: Rows) -> None:
    """Measure the vision tower: where the time goes, partial recomputation, a static scene."""
    from benchmarks.tokens import vision

    for name in ('where_time_goes', 'partial_recompute', 'static_scene'):
        config = {'measurement': name, 'quick': job.quick}
        if rows.done(row_key('vision', **config, row=0)):
            continue
        job.tell(f'vision: {name}')
        found: list[Mapping[str, Any]] = getattr(vision, name)(quick=job.quick)
        keyed = {
            row_key('vision', **config, row=index): _vision_row(name, row)
            for index, row in enumerate(found)
        }
        rows.add_all('vision', keyed)


def _vision_row(measurement: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose ``part`` (of the policy) does not hide that of the benchmark."""
    renamed = {'part': 'stage', 'table': 'measurement'}
    return {'measurement': measurement} | {renamed.get(name, name): v for name, v in row.items()}


def measure_graphs(job: Job, rows: Rows) -> None:
    """Measure dense and the composition through the graph."""
    from benchmarks.tokens.graph import GraphPlan, measure_graph

    assert job.display is not None
    sizes = job.sizes
    plan = GraphPlan(
        policy=job.policy,
        tasks=sizes.tasks,
        episodes=sizes.graph_episodes,
        seed=job.seed,
        blocks=sizes.graph_blocks,
        hardware=job.hardware,
        composition=job.composition,
        episode_s=sizes.graph_s,
    )
    parse_overrides(plan.composition)
    config = {
        'tasks': plan.tasks,
        'episodes': plan.episodes,
        'seed': plan.seed,
        'blocks': plan.blocks,
        'hardware': plan.hardware,
        'composition': plan.composition,
        'episode_s': plan.episode_s,
        'checkpoint': job.checkpoint,
    }
    keys = {name: row_key('graph', **config, name=name) for name in (DENSE, 'composition')}
    if all(rows.done(key) for key in keys.values()):
        return
    job.tell('graph: dense and composition in turn')
    found = measure_graph(plan, job.display)
    rows.add_all('graph', {keys[row['name']]: row for row in found})


def measure_soak(job: Job, rows: Rows) -> None:
    """Run thousands of frames with accidents."""
    from benchmarks.tokens.soak import soak

    frames = job.sizes.soak_frames
    key = row_key('soak', frames=frames, seed=job.seed, checkpoint=job.checkpoint)
    if not rows.done(key):
        job.tell(f'soak: {frames} frames')
        rows.add('soak', key, **soak(job.policy, frames, job.seed))


PARTS: dict[str, Callable[[Job, Rows], None]] = {
    'shapes': measure_shapes,
    'vision': measure_vision,
    'overhead': measure_overheads,
    'methods': measure_methods,
    'graph': measure_graphs,
    'soak': measure_soak,
}
"""Name -> what measures it, the short ones first."""


def write_page(rows: Rows) -> Iterator[Path]:
    """Write the page and its pictures beside the rows; yield what was written."""
    from benchmarks.tokens.plots import plot_shapes, plot_success
    from benchmarks.tokens.table import page

    folder = rows.path.parent
    for name, draw, part in (
        (SUCCESS_PICTURE, plot_success, 'methods'),
        (SHAPES_PICTURE, plot_shapes, 'shapes'),
    ):
        if draw(folder / name, rows.of(part)):
            yield folder / name
    every = [row for part in PARTS for row in rows.of(part)]
    if every:
        (folder / PAGE).write_text(page(every, rows.manifest))
        yield folder / PAGE


def failures(rows: Rows) -> list[str]:
    """Return what went wrong in the soak."""
    return [row['first_failure'] for row in rows.of('soak') if row['failures']]
