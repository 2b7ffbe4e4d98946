# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All measurements about layers, bytes and engines, and what a run of them writes."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.compute.conditions import DENSE, conditions
from benchmarks.compute.page import REPORT as REPORT
from benchmarks.job import Condition, Job
from benchmarks.threads import threads_of
from efficient_vla.bench.compare import paired_columns, unpacked
from efficient_vla.bench.evaluate import refuse_misfit
from efficient_vla.bench.rows import Rows, row_key
from efficient_vla.cli.run_options import refuse_unknown


def measure_methods(job: Job, rows: Rows) -> None:
    """Measure memory, cost and success of every technique, dense first.

    The episodes, which take long and do not depend on time, come last.
    """
    from benchmarks.compute.decisions import measure_cost
    from benchmarks.compute.memory import measure_memory

    def memory(condition: Condition) -> dict[str, Any]:
        return measure_memory(job.policy, condition.words)

    def cost(condition: Condition) -> dict[str, Any]:
        with threads_of(job.hardware) as threads:
            found = measure_cost(job.policy, condition.words, job.scenes)
        return found | {'threads': threads}

    def success(condition: Condition) -> dict[str, Any]:
        seen = job.play(condition.words)
        dense = seen if condition.kind == DENSE else unpacked(rows.get(dense_key)['outcomes'])
        return paired_columns(seen, dense)

    refuse_misfit(job.request(()))
    config = {'frames': job.sizes.frames, **job.played}
    described = {
        'policy': job.policy.name,
        'tasks': ','.join(job.sizes.tasks),
        'seed': job.seed,
        'render': job.render,
    }
    keyed = [
        (c, row_key('methods', overrides=c.words, **config), described | {'kind': c.kind})
        for c in _chosen(job.only)
    ]
    dense_key = keyed[0][1]
    job.measure(rows, 'methods', keyed, memory, 'resident_mb')
    job.measure(rows, 'methods', keyed, cost, 'decision_p50_ms')
    job.measure(rows, 'methods', keyed, success, 'success_rate')


def _chosen(names: Sequence[str]) -> list[Condition]:
    """Return dense and the techniques of these names, all where there are none."""
    known = conditions()
    refuse_unknown('technique', names, [condition.name for condition in known])
    return [c for c in known if not names or c.kind == DENSE or c.name in names]


PARTS: dict[str, Callable[[Job, Rows], None]] = {'methods': measure_methods}
"""Name -> what measures it, the short ones first."""
