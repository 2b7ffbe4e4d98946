# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the plan of a dual system carries: success with live plans, the first one, and wrong ones.

``python -m benchmarks.dual --policy DIR --out FILE``, in process, on the same seeds for all, on
tasks of one thing and on those where the sentence alone says which of several is meant. A
conditioning that succeeds as often with wrong plans does not read them.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from efficient_vla import addons
from efficient_vla.bench.compare import outcomes, paired_columns
from efficient_vla.bench.evaluate import Request, evaluate
from efficient_vla.bench.overrides import merged, parse_overrides
from efficient_vla.bench.report import success_summary
from efficient_vla.dual_settings import CONDITIONINGS, OWN, addon_name
from efficient_vla.sim.episodes import PLANS

TASKS = ('reach', 'push', 'reach_three', 'push_two')
"""Two of one thing each, and two of several."""


def row(request: Request, conditioning: str, plan: str) -> dict[str, Any]:
    """Return success by task, and the latency of fast and slow stage [ms]."""
    words = [f'{node}.dual.conditioning={conditioning}' for node in ('reasoner', 'actor')]
    given = parse_overrides([*words, f'eval.plan={plan}', 'actor.architecture=dual'])
    found = evaluate(
        Request(
            request.policy,
            request.tasks,
            request.episodes,
            request.seed,
            merged(request.overrides, given),
            render=request.render,
            image_size=request.image_size,
            robot=request.robot,
        )
    )
    latencies = {
        f'{stage}_p50_ms': found['stages'][stage]['latency_ms']['p50']
        for stage in ('reasoner', 'actor')
    }
    return {'conditioning': conditioning, 'plan': plan, **latencies, 'seen': outcomes(found)}


def rows(request: Request, conditionings: Sequence[str]) -> list[dict[str, Any]]:
    """Return a flat row for each conditioning and plan, paired with its live plans."""
    found = []
    for conditioning in conditionings:
        live: dict[tuple[str, int], bool] = {}
        for plan in PLANS:
            made = row(request, conditioning, plan)
            seen = made.pop('seen')
            live = live or seen
            made |= paired_columns(seen, live, 'live', plan)
            for task in request.tasks:
                of_task = success_summary([won for (name, _), won in seen.items() if name == task])
                made[f'{task}_ci'] = of_task['ci95']
            found.append(made)
            Console().print(made)
    return found


def main() -> int:
    """Measure the conditionings that a policy has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--policy', type=Path, required=True)
    parser.add_argument('--robot', default='ur5e')
    parser.add_argument('--tasks', default=','.join(TASKS))
    parser.add_argument('--conditionings', default='', help='default: all that the folder has')
    parser.add_argument('--episodes', type=int, default=10)
    parser.add_argument('--seed', type=int, default=1000)
    parser.add_argument('--max-steps', type=int, default=250)
    parser.add_argument('--image-size', type=int, default=192)
    parser.add_argument('--out', type=Path, required=True)
    arguments = parser.parse_args()
    there = [
        name
        for name in CONDITIONINGS
        if name == OWN or addons.path(arguments.policy, addon_name(name)).exists()
    ]
    chosen = arguments.conditionings.split(',') if arguments.conditionings else there
    request = Request(
        arguments.policy,
        tuple(arguments.tasks.split(',')),
        arguments.episodes,
        arguments.seed,
        parse_overrides([f'eval.max_steps={arguments.max_steps}']),
        render='fast',
        image_size=arguments.image_size,
        robot=arguments.robot,
    )
    arguments.out.write_text(json.dumps({'rows': rows(request, chosen)}, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
