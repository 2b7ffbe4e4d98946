# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All measurements about visual tokens: which parts there are, and what a run of them writes."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.job import SINGLE, Condition, Job
from benchmarks.threads import threads_of
from benchmarks.tokens.conditions import COMPOSITION, DENSE, conditions
from benchmarks.tokens.page import REPORT as REPORT
from efficient_vla.bench.compare import paired_columns, unpacked
from efficient_vla.bench.overrides import parse_overrides
from efficient_vla.bench.rows import Rows, row_key


def measure_methods(job: Job, rows: Rows) -> None:
    """Measure cost and success of every technique, dense first.

    Costs come first, one after the other: the episodes, which take long, do not depend on time.
    """
    from benchmarks.tokens.latency import measure_cost

    def cost(condition: Condition) -> dict[str, Any]:
        with threads_of(job.hardware) as threads:
            found = measure_cost(job.policy, SINGLE, condition.words, job.scenes)
        return found | {'threads': threads}

    def success(condition: Condition) -> dict[str, Any]:
        seen = job.play(condition.words)
        dense = seen if condition.kind == DENSE else unpacked(rows.get(dense_key)['outcomes'])
        return paired_columns(seen, dense)

    chosen = conditions(job.sizes.keeps, job.composition)
    config = {'frames': job.sizes.frames, **job.played}
    keyed = [
        (c, row_key('methods', overrides=c.words, **config), _described(job, c)) for c in chosen
    ]
    dense_key = keyed[0][1]
    job.measure(rows, 'methods', keyed, cost, 'plan_p50_ms')
    job.measure(rows, 'methods', keyed, success, 'success_rate')


def _described(job: Job, condition: Condition) -> dict[str, Any]:
    return {
        'policy': job.policy.name,
        'kind': condition.kind,
        'method': condition.method,
        'keep': condition.keep,
        'tasks': ','.join(job.sizes.tasks),
        'seed': job.seed,
        'render': job.render,
        'max_steps': job.sizes.max_steps,
    }


def measure_overheads(job: Job, rows: Rows) -> None:
    """Measure what every selector and reuse method costs beside the pass."""
    from benchmarks.tokens.overhead import measure_overhead, measured_methods

    for method in measured_methods():
        key = row_key('overhead', method=method, **job.decided('tasks', 'frames'))
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
    from benchmarks.tokens.shapes import CASES, SHAPES, TINY, device_name, measure_shape
    from efficient_vla.devices import torch_device

    device = torch_device(job.device)
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
    from benchmarks.tokens.graph import measure_graph

    sizes = job.sizes
    config: dict[str, Any] = {
        'tasks': sizes.tasks,
        'episodes': sizes.graph_episodes,
        'seed': job.seed,
        'blocks': sizes.graph_blocks,
        'hardware': job.hardware,
        'composition': job.composition or COMPOSITION,
        'episode_s': sizes.graph_s,
        'checkpoint': job.checkpoint,
    }
    parse_overrides(config['composition'])
    keys = {name: row_key('graph', **config, name=name) for name in (DENSE, 'composition')}
    if all(rows.done(key) for key in keys.values()):
        return
    job.tell('graph: dense and composition in turn')
    found = measure_graph(job, config['composition'])
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


def failures(rows: Rows) -> list[str]:
    """Return what went wrong in the soak."""
    return [row['first_failure'] for row in rows.of('soak') if row['failures']]
