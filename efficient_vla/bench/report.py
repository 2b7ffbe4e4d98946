# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The JSON object of an evaluation, and its table."""

from collections.abc import Mapping, Sequence
from typing import Any

from efficient_vla.bench.compare import wilson_interval
from efficient_vla.records import STAGES, EpisodeResult, StageRecord, merge


def report(
    results: Sequence[EpisodeResult], control: Mapping[str, Any], wanted: int
) -> dict[str, Any]:
    """Return success by task, costs by stage and rates; ``control`` adds the periods [ms].

    ``success_rate`` is the mean over tasks, so that every task counts alike. Where fewer episodes
    than ``wanted`` ran, ``interrupted`` says so.
    """
    tasks = {
        task: task_summary([result for result in results if result.task == task])
        for task in dict.fromkeys(result.task for result in results)
    }
    stages = merged_stages(results)
    note = f'ended after {len(results)} of {wanted} episodes; rates are of those.'
    return {
        **({'interrupted': note} if len(results) < wanted else {}),
        'success_rate': sum(task['success_rate'] for task in tasks.values()) / len(tasks),
        'tasks': tasks,
        'stages': {name: record.summary() for name, record in stages.items()},
        'rates_hz': {name: record.rate_hz for name, record in stages.items()},
        'control': {
            **control,
            'underruns': sum(result.underruns for result in results),
            'max_jerk': max(result.max_jerk for result in results),
            'rejected_chunks': sum(result.rejected_chunks for result in results),
        },
        'episodes': [result.summary() for result in results],
    }


def merged_stages(results: Sequence[EpisodeResult]) -> dict[str, StageRecord]:
    """Return the passes of all episodes by stage, in the order of the flow."""
    return {
        name: merge(result.stages[name] for result in results if name in result.stages)
        for name in STAGES
        if any(name in result.stages for result in results)
    }


def task_summary(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Return success of one task; ``time_to_success_s`` is ``None`` where nothing succeeded."""
    times = [result.duration_s for result in results if result.success]
    return {
        **success_summary([result.success for result in results]),
        'time_to_success_s': sum(times) / len(times) if times else None,
    }


def success_summary(outcomes: Sequence[bool]) -> dict[str, Any]:
    """Return rate, counts and 95 % Wilson interval of episodes."""
    return {
        'success_rate': sum(outcomes) / len(outcomes),
        'successes': sum(outcomes),
        'episodes': len(outcomes),
        'ci95': list(wilson_interval(sum(outcomes), len(outcomes))),
    }
