# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""CPU time of the systems that have a profile, small and with random weights: who costs what.

``python -m benchmarks.systems`` lets all see the same frames in turn, on one thread of one process,
and prints a table. What they are compared with is the Llama of ``deer`` with all of its layers.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.tokens.latency import record_scenes, turns
from efficient_vla.cli.options import policy_given
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts
from efficient_vla.sim.catalogue import DEFAULT_ROBOT
from efficient_vla.systems import SYSTEMS

PLAIN = 'all layers of a Llama'
COLUMNS = ('system', 'paper', 'numbers', 'plan', 'ratio', 'chunk')


def measure(folders: dict[str, Path], frames: int, tasks: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return a row of text a system: medians of CPU time [ms], plans beside those of ``PLAIN``."""
    policies = {
        PLAIN: Policy.from_pretrained(folders['deer'], robot=DEFAULT_ROBOT, depth_method='none')
    }
    policies |= {
        name: Policy.from_pretrained(folder, robot=DEFAULT_ROBOT)
        for name, folder in folders.items()
    }
    plans: dict[str, list[float]] = {name: [] for name in policies}
    chunks: dict[str, list[float]] = {name: [] for name in policies}
    scenes = record_scenes(tasks, policies[PLAIN].perception.cameras, frames, size=96)
    for name, scene, index, counted in turns(policies, scenes):
        stages, frame = policies[name], scene.frames[index]
        tokens = stages.perception.encode(frame)
        assert tokens is not None
        stages.reasoner.observe(frame.state, frame.stamp)
        begun = time.process_time()
        plan = stages.reasoner.plan(tokens, scene.instruction)
        planned = time.process_time()
        stages.actor.chunk(plan, frame)
        if counted:
            plans[name].append((planned - begun) * 1e3)
            chunks[name].append((time.process_time() - planned) * 1e3)
    rows: list[tuple[str, ...]] = []
    for name in policies:
        system = SYSTEMS.get(name)
        millions = folder_facts(folders.get(name, folders['deer'])).parameters / 1e6
        rows.append(
            (
                f'`{name}`' if system else name,
                system.paper if system else '',
                f'{millions:.1f} M',
                f'{np.median(plans[name]):.1f} ms',
                f'{np.mean(plans[name]) / np.mean(plans[PLAIN]):.2f}',
                f'{np.median(chunks[name]):.1f} ms',
            )
        )
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=20, help='a task (default: %(default)s)')
    parser.add_argument('--tasks', default='reach-v3,door-open-v3,button-press-v3')
    args = parser.parse_args()
    torch.set_num_threads(1)
    folders = {name: Path(policy_given(name, DEFAULT_ROBOT)) for name in SYSTEMS}
    rows = measure(folders, args.frames, tuple(args.tasks.split(',')))
    for row in (COLUMNS, ('---',) * len(COLUMNS), *rows):
        sys.stdout.write(f'| {" | ".join(row)} |\n')


if __name__ == '__main__':
    main()
