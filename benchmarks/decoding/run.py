# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All measurements about heads and decodings, and what a run of them writes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.decoding.conditions import CONDITIONS, FLOW, REGRESSION, SHORTCUT
from benchmarks.decoding.latency import columns, in_turn, record_plans
from benchmarks.decoding.page import REPORT as REPORT
from benchmarks.job import SINGLE, Condition, Job
from benchmarks.threads import threads_of
from efficient_vla.action.catalogue import TOKENIZERS
from efficient_vla.action.heads.tokens import load_decoder
from efficient_vla.assembly import HeadFolder
from efficient_vla.bench.compare import paired_columns, unpacked
from efficient_vla.bench.overrides import build_settings, merged, parse_overrides
from efficient_vla.bench.rows import REFUSALS, REFUSED, Rows, row_key
from efficient_vla.errors import CheckpointError
from efficient_vla.policy import Policy

FIT_SEED, JUDGE_SEED = 60_000, 50_000
"""First seeds of the experts' episodes; training uses 100,000 and up, evaluation 1000 and up."""


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
    config = {'hardware': job.hardware, **job.decided('tasks', 'frames', 'rounds')}
    keys = {c.name: row_key('latency', overrides=c.words, **config) for c in CONDITIONS}
    if all(rows.done(key) for key in keys.values()):
        return
    dense = Policy.from_settings(job.policy, build_settings(SINGLE))
    scenes = job.scenes
    actors, blendings, refused = {}, {}, {}
    for condition in CONDITIONS:
        try:
            settings = build_settings(merged(SINGLE, parse_overrides(condition.words)))
            actors[condition.name] = Policy.from_settings(job.policy, settings).actor
            blendings[condition.name] = settings['controller'].blending.method
        except REFUSALS as error:
            refused[condition.name] = {REFUSED: str(error)}
    with threads_of(job.hardware) as threads:
        situations = record_plans(dense, scenes)
        job.tell(f'latency: {len(actors)} heads on {len(situations)} plans')
        found = in_turn(actors, blendings, situations, job.sizes.rounds)
    measured = {}
    for condition in CONDITIONS:
        name = condition.name
        values: dict[str, Any] = refused.get(name, {})
        if name in found:
            against = found.get(condition.reference, found[name])
            values = columns(found[name], against, found[REGRESSION])
            values |= {'parameters_mb': actors[name].parameters_mb, 'threads': threads}
        described = {'name': name, 'overrides': ' '.join(condition.words)}
        measured[keys[name]] = {**described, 'reference': condition.reference, **values}
    rows.add_all('latency', measured)


def measure_tokenizers(job: Job, rows: Rows) -> None:
    """Measure tokens of a chunk against the error of what they stand for."""
    from benchmarks.decoding import tokenizers
    from efficient_vla import checkpoint

    sizes = job.sizes
    config = {'episodes': sizes.expert_episodes, 'steps': sizes.expert_steps}
    config |= job.decided('tasks')
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


def _compare(
    job: Job, rows: Rows, part: str, conditions: Sequence[Condition], first_name: str
) -> None:
    """Measure success with all ``conditions``, paired with the first of them."""
    first = conditions[0]
    keys = {c.name: row_key(part, overrides=c.words, **job.played) for c in conditions}

    def success(condition: Condition) -> dict[str, Any]:
        seen = job.play(condition.words)
        others = condition is not first
        reference = unpacked(rows.get(keys[first.name])['outcomes']) if others else seen
        return paired_columns(seen, reference, first_name, 'this')

    keyed = [(c, keys[c.name], {'reference': c.reference}) for c in conditions]
    job.measure(rows, part, keyed, success)
