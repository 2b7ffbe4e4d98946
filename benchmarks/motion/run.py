# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""All measurements about motion: which parts there are, and what a run of them writes."""

import dataclasses
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from benchmarks.job import SINGLE, Condition, Job
from benchmarks.motion.conditions import PATIENCE, REAL_TIME, TRAINED, Trial, executions, trials
from benchmarks.motion.measures import measure, merged, roughness
from benchmarks.motion.page import REPORT as REPORT
from benchmarks.motion.playback import RecordedChunks, controller_settings, play
from benchmarks.motion.recording import OFFSET, RecordedMotion, constant_offset, record
from benchmarks.motion.stand_in import GuidedPolicy
from efficient_vla.bench.compare import paired_columns, unpacked
from efficient_vla.bench.overrides import build_settings, parse_overrides
from efficient_vla.bench.rows import REFUSED, Rows, row_key
from efficient_vla.control.blending import METHODS
from efficient_vla.errors import UsageError
from efficient_vla.policy import Policy
from efficient_vla.records import EpisodeResult
from efficient_vla.sim.metaworld.scene import MetaWorldSim

REFERENCE, LIMITED = 'reference', 'controller'
POLICY = 'policy'


@cache
def recordings(job: Job) -> dict[str, list[RecordedMotion]]:
    """Return the chunks that all scripted parts play: of the policy, and of a dummy."""
    settings = build_settings(SINGLE)
    stages = Policy.from_settings(job.policy, settings)
    found = []
    for task in job.sizes.tasks:
        job.tell(f'recording chunks: {task}')
        sim = MetaWorldSim(task, job.render)
        try:
            found.append(record(sim, stages, settings, job.seed, job.sizes.record_steps))
        finally:
            sim.close()
    return {POLICY: found, OFFSET: [constant_offset(job.sizes.dummy_s)]}


def measure_seams(job: Job, rows: Rows) -> None:
    """Play recorded chunks through every blending, inside the limits and without any."""
    methods = [method for method in METHODS if method != TRAINED]
    played = trials(job.sizes.delays_ms, job.sizes.seeds)
    for place in product((POLICY, OFFSET), played, methods, (REFERENCE, LIMITED)):
        key = _seam_key(job, 'seams', *place)
        if not rows.done(key):
            rows.add('seams', key, **_seam_row(job, *place))


def _seam_key(job: Job, part: str, source: str, trial: Trial, method: str, limits: str) -> str:
    scenarios = [dataclasses.asdict(scenario) for scenario in trial.scenarios]
    return row_key(
        part,
        source=source,
        trial=trial.name,
        scenarios=scenarios,
        method=method,
        limits=limits,
        steps=job.sizes.record_steps,
        seed=job.seed,
        render=job.render,
        **job.decided('tasks', 'dummy_s'),
    )


def _seam_row(job: Job, source: str, trial: Trial, method: str, limits: str) -> dict[str, Any]:
    recorded = recordings(job)[source]
    base = build_settings(parse_overrides((PATIENCE,)))['controller']
    found = []
    for recording in recorded:
        settings = controller_settings(base, method, recording.dt, limits == LIMITED)
        for scenario in trial.scenarios:
            source_of = (
                GuidedPolicy(recording) if method == REAL_TIME else RecordedChunks(recording)
            )
            found.append(measure(recording, play(recording, scenario, settings, source_of)))
    return {
        'source': source,
        'trial': trial.name,
        'delay_ms': trial.delay_ms,
        'method': method,
        'limits': limits,
        **merged(found),
        'jerk_inside_chunks': max(roughness(recording) for recording in recorded),
    }


def measure_peer(job: Job, rows: Rows) -> None:
    """Play the same chunks through LeRobot's queues, where an interpreter with it was named."""
    from benchmarks.motion.peer import methods_for, play_lerobot

    if job.peer_python is None:
        job.tell('peer: skipped; name an interpreter that has LeRobot with --peer-python')
        return
    wanted = {}
    for source in (POLICY, OFFSET):
        for trial in trials(job.sizes.delays_ms, job.sizes.seeds):
            for name, method in methods_for(trial.scenarios[0].in_flight).items():
                key = _seam_key(job, 'peer', source, trial, method, REFERENCE)
                if not rows.done(key):
                    wanted[key] = source, trial, name, method
    if not wanted:
        return
    tasks = [
        (key, recording, scenario, method)
        for key, (source, trial, _, method) in wanted.items()
        for recording in recordings(job)[source]
        for scenario in trial.scenarios
    ]
    job.tell(f'peer: {len(tasks)} motions in {job.peer_python}')
    version, motions = play_lerobot(job.peer_python, [task[1:] for task in tasks])
    found: dict[str, list[dict[str, float]]] = {key: [] for key in wanted}
    for (key, recording, _, _), played in zip(tasks, motions, strict=True):
        found[key].append(measure(recording, played))
    rows.add_all(
        'peer',
        {
            key: {
                'source': source,
                'trial': trial.name,
                'delay_ms': trial.delay_ms,
                'method': name,
                'limits': 'none',
                **merged(found[key]),
                'version': f'lerobot {version}',
            }
            for key, (source, trial, name, _) in wanted.items()
        },
    )


def measure_episodes(job: Job, rows: Rows) -> None:
    """Measure success with inference that takes time, for every way of execution."""

    def success(condition: Condition) -> dict[str, Any]:
        results: list[EpisodeResult] = []
        seen = job.play((PATIENCE, *condition.words), results.append)
        without = first[condition.method]
        alone = without == keys[condition.name]
        reference = seen if alone else unpacked(rows.get(without)['outcomes'])
        columns = paired_columns(seen, reference, 'no_delay', 'delayed')
        lost = 100 * (columns['no_delay_success_rate'] - columns['success_rate'])
        return {
            **columns,
            'points_below_no_delay': round(lost, 6),
            'idle': sum(r.idle_s or 0.0 for r in results) / sum(r.duration_s for r in results),
            'mean_duration_s': float(np.mean([r.duration_s for r in results])),
            'max_jerk': max(r.max_jerk for r in results),
            'rejected_chunks': sum(r.rejected_chunks for r in results),
        }

    conditions = executions(job.sizes.episode_delays_ms)
    keys = {c.name: row_key('success', overrides=c.words, **job.played) for c in conditions}
    first: dict[str, str] = {}
    keyed = []
    for condition in conditions:
        key = keys[condition.name]
        first.setdefault(condition.method, key)
        described = {
            'method': condition.method,
            'delay_ms': round(1e3 * parse_overrides(condition.words)['eval']['delay']),
            'tasks': ','.join(job.sizes.tasks),
        }
        keyed.append((condition, key, described))
    job.measure(rows, 'success', keyed, success, compared=False)


def measure_controller(job: Job, rows: Rows) -> None:
    """Measure the control loop: loaded at 200 Hz, idle at 500 Hz, and there loaded with an arm."""
    from benchmarks.motion.timing import measure_timing

    for rate, load, arm, share in (
        (200.0, True, False, 1.0),
        (500.0, False, False, 0.1),
        (500.0, True, True, 0.1),
    ):
        seconds = max(5.0, share * job.sizes.timing_s)
        chosen = {'rate': rate, 'load': load, **({'arm': True} if arm else {})}
        key = row_key('controller', seconds=seconds, **chosen)
        if rows.done(key):
            continue
        what = ', seven joints' if arm else ''
        job.tell(f'controller: {rate:g} Hz {"loaded" if load else "idle"}{what} for {seconds:g} s')
        try:
            (found,) = measure_timing(seconds, rate, load, arm=arm)
        except UsageError as error:
            told = {'rate_hz': rate, 'load': load, REFUSED: str(error)}
            rows.add('controller', key, **told)
            continue
        rows.add('controller', key, **found)


PARTS: dict[str, Callable[[Job, Rows], None]] = {
    'seams': measure_seams,
    'peer': measure_peer,
    'success': measure_episodes,
    'controller': measure_controller,
}
"""Name -> what measures it, the short ones first."""
