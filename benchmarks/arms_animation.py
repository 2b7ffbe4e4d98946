# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Shipped policies drive the simulated arms, side by side: ``python -m benchmarks.arms_animation``.

Each arm does one episode of each task, seed 1000, in lock-step; the pictures are rendered anew from
its physics states, sharper than the policy sees it.
"""

import argparse
from pathlib import Path
from typing import Any

from efficient_vla.bench.animation import CELL, FRAMES_S, Clip, clip, write_animation
from efficient_vla.bench.evaluate import Request
from efficient_vla.bench.lockstep import run_episode
from efficient_vla.bench.overrides import build_settings
from efficient_vla.cli.run_options import policy_place
from efficient_vla.policy import Policy
from efficient_vla.sim.rendering import ModelCamera

ARMS = {'so101': 'SO-101', 'ur5e': 'UR5e', 'panda': 'Panda'}
TASKS = ('reach', 'push')
SEED = 1000


def main() -> None:
    """Write the animation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('docs/results/arms/arms.webp'))
    out = parser.parse_args().out
    write_animation(out, [filmed(robot, task) for robot in ARMS for task in TASKS])


def filmed(robot: str, task: str) -> Clip:
    """Run one episode and return its pictures."""
    request = Request(policy_place(None, robot), (task,), 1, SEED, robot=robot)
    settings = build_settings({}, robot)
    sim: Any = request.simulation.make(task, 'fast', request.side, settings['eval'].max_steps)
    step, period = sim.step, sim.simulation.period
    states: list[tuple[float, Any]] = []

    def stepped(command: Any) -> None:
        if sim.steps % round(1 / (FRAMES_S * period)) == 0:
            states.append((sim.steps * period, sim.snapshot()))
        step(command)

    vars(sim)['step'] = stepped
    result = run_episode(sim, Policy.from_settings(request.policy, settings), settings, SEED)
    states.append((sim.steps * period, sim.snapshot()))
    camera = ModelCamera(sim.model, sim.camera.name, 'default', 2 * CELL)
    frames = [(seconds, camera.image_of(state)) for seconds, state in states]
    camera.close()
    sim.close()
    return clip(f'{ARMS[robot]}: {result.instruction}', result.success, frames)


if __name__ == '__main__':
    main()
