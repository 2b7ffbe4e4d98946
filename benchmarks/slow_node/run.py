# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure all faults of the slow side, as root: ``python -m benchmarks.slow_node.run --json OUT``.

Everything runs in two network namespaces, which end with it. The robot is simulated in wall time.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.slow_node.faults import FAULTS, SlowOutcome, suffer
from benchmarks.slow_node.hosts import TwoHosts, why_no_hosts
from benchmarks.slow_node.rig import SlowNodeRig
from efficient_vla import interrupts
from efficient_vla.bench.manifest import manifest

CARD = {'policy_type': 'passthrough', 'velocity': [0.0, 0.0005, 0.0], 'grid': [55, 55]}
"""A policy of no weights, whose tokens are as long a message as those of evla-nano."""
ARMS = (('reasoner', 2.0), ('reasoner', 30.0), ('server', 2.0))
"""What is slow, and ``plan_validity`` [s]."""
LIGHT = {
    'actor.architecture': 'dual',
    'metaworld_robot.camera.render': 'fast',
    'metaworld_robot.max_steps': 10**9,
}


def measure(network: TwoHosts, arms: Any, names: list[str]) -> list[SlowOutcome]:
    """Return what came of the faults, each arm in one run of its graph."""
    rows = []
    for slow, validity in arms:
        given = {**LIGHT, 'reasoner.plan_validity': validity}
        with (
            tempfile.TemporaryDirectory() as folder,
            SlowNodeRig(Path(folder), slow, given, _policy(Path(folder)), network) as rig,
        ):
            for name in names:
                rows.append(suffer(rig, name, validity))
                sys.stderr.write(f'{rows[-1]}\n')
    return rows


def _policy(folder: Path) -> str:
    (folder / 'policy.json').write_text(json.dumps(CARD))
    return str(folder)


def table(rows: list[SlowOutcome]) -> str:
    """Return the outcomes as a table of Markdown."""
    lines = [
        '| slow side, validity of plans | fault | chunks/s before, during | oldest plan s | held, '
        'longest s | plans of subtasks | back after s |',
        '|---|---|---|---|---|---|---|',
    ]
    lines += [
        f'| {row.slow}, {row.plan_validity:g} s | {row.fault} ({row.lasted:.1f} s) | '
        f'{row.chunks_before:.1f}, {row.chunks_during:.1f} | {row.oldest_plan:.1f} | '
        f'{100 * row.held:.0f} %, {row.longest:.1f} | '
        f'{f"{100 * row.named:.0f} %" if row.slow == "server" else "-"} | {row.back_after:.2f} |'
        for row in rows
    ]
    return '\n'.join(lines) + '\n'


def main() -> int:
    """Make both hosts, measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--faults', nargs='+', default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument('--arms', nargs='+', type=int, default=[0, 1, 2], help=f'of {ARMS}')
    parser.add_argument('--json', type=Path, help='write what was measured here')
    given = parser.parse_args()
    reason = why_no_hosts()
    if reason:
        parser.error(reason)
    with interrupts.unwinding(), TwoHosts() as network:
        rows = measure(network, [ARMS[number] for number in given.arms], given.faults)
    sys.stdout.write(table(rows))
    if given.json:
        about = manifest(None, LIGHT, card=CARD)
        found = {'rows': [asdict(row) for row in rows], 'manifest': about}
        given.json.write_text(json.dumps(found, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
