# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Make demonstrations from Meta-World's scripted experts: `efficient-vla data`.

The arm is driven by the expert plus noise, so that states off the expert's path are visited, and
each recorded frame is labelled with what the noise-free expert would do from there: a rollout in a
branch of the simulation, undone afterwards. Recovery is thus in the data without noise in the
labels (DART, arXiv 1703.09327, with exact labels). Only successful episodes are kept.
"""

import argparse
import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import track

from efficient_vla import unfinished
from efficient_vla.perception.preprocess import shrink
from efficient_vla.sim.metaworld.tasks import TASKS
from efficient_vla.training.instructions import paraphrases
from efficient_vla.types import Frame
from efficient_vla.workers import in_workers

if TYPE_CHECKING:
    from efficient_vla.policy import Policy
    from efficient_vla.sim.metaworld.scene import MetaWorldSim

HORIZON = 40
"""Rows of a label: 0.5 s of the expert's future."""
IMAGE_SIZE = 144
RENDER_SIZE = 480
TRAIN_SEED = 100_000
"""First seed of the training episodes; evaluation uses 1000 and up, validation 50,000."""
MAX_STEPS = 350
POLICY_STEPS = 220
"""Length of an episode that a policy drives and does not finish."""
ATTEMPTS = 8
"""Seeds tried for one episode before it is given up."""
CROSS_TASKS = (
    ('reach-v3', 'pick-place-v3'),
    ('push-v3', 'reach-v3'),
    ('push-v3', 'pick-place-v3'),
    ('pick-place-v3', 'reach-v3'),
)
"""(Scene, task asked for): scenes that share their objects teach that the sentence decides."""


class Disturbance:
    """Noise on the expert's actions: coloured noise, kicks, and a detour at the start."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.scale = rng.choice([0.0, 0.15, 0.35])
        self.kick_rate = rng.choice([0.0, 0.0, 0.02])
        self.noise: np.ndarray = np.zeros(3)
        self.kick: np.ndarray = np.zeros(3)
        self.left = 0
        self.detour = int(rng.integers(5, 45)) if rng.random() < 0.5 else 0
        self.heading = _direction(rng) * rng.uniform(0.2, 0.7)

    def apply(self, action: np.ndarray, step: int) -> np.ndarray:
        """Return the disturbed action [4]."""
        action = action.copy()
        if step < self.detour:
            action[:3] = self.heading
            return action
        self.noise = 0.8 * self.noise + 0.6 * self.rng.normal(size=3) * self.scale
        if self.left == 0 and self.rng.random() < self.kick_rate:
            self.left = int(self.rng.integers(4, 14))
            self.kick = _direction(self.rng) * self.rng.uniform(0.3, 0.8)
        if self.left:
            self.left -= 1
            action[:3] = self.kick
        action[:3] = np.clip(action[:3] + self.noise, -1.0, 1.0)
        return action


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    vector[2] = abs(vector[2]) if rng.random() < 0.7 else vector[2]
    return vector / np.linalg.norm(vector)


def _achieved(task: str, labels: np.ndarray) -> bool:
    """Tell whether ``task`` is done in a scene of another task."""
    from efficient_vla.sim.metaworld.experts import TOOL_LENGTH

    hand, thing, goal = labels[:3], labels[3:6], labels[6:9]
    if task == 'reach-v3':
        return float(np.linalg.norm(hand - [0.0, 0.0, TOOL_LENGTH] - goal)) < 0.05
    return float(np.linalg.norm(thing - goal)) < 0.07


def record(
    scene: str,
    task: str,
    seed: int,
    speed: float,
    default_share: float,
    sims: dict,
    policy: 'Policy | None' = None,
) -> dict[str, np.ndarray] | None:
    """Return one episode as arrays, or ``None`` where the disturbed expert failed.

    Arrays: image uint8 [T, 144, 144, 3], state float32 [T, 4], chunk float32 [T, H, 4] (metres a
    step, gripper effort), labels float32 [T, 9] (hand, object, goal), step int32 [T].

    With ``policy`` the arm is driven by that policy, the expert taking over now and then, and the
    episode is kept whether it succeeds or not: DAgger (arXiv 1011.0686).
    """
    from efficient_vla.sim.metaworld import experts
    from efficient_vla.sim.metaworld.scene import MetaWorldSim

    for rendering in ('fast', 'default'):
        if (scene, rendering) not in sims:
            sims[scene, rendering] = MetaWorldSim(scene, rendering, RENDER_SIZE)
    sim, shaded = sims[scene, 'fast'], sims[scene, 'default']
    rng = np.random.default_rng([seed, TASKS.index(scene), TASKS.index(task)])
    expert = experts.ScriptedExpert(task, speed)
    drive = Disturbance(rng) if policy is None else PolicyDriver(policy, sim, task, rng)
    sim.reset(seed)
    visited, due, success = [], 0, False
    while not success:
        if policy is not None and sim.steps >= POLICY_STEPS:
            break
        if sim.steps >= MAX_STEPS:
            return None
        if sim.steps >= due:
            visited.append(experts.save(sim))
            due = sim.steps + int(rng.integers(3, 6))
        sim.step_action(drive.apply(expert.action(sim), sim.steps))
        success = sim.success if scene == task else _achieved(task, experts.privileged(sim))
    shaded.reset(seed)
    frames: dict[str, list] = {key: [] for key in ('image', 'state', 'chunk', 'labels', 'step')}
    for moment in visited:
        experts.restore(sim, moment)
        camera = shaded if rng.random() < default_share else sim
        frames['image'].append(shrink(camera.render_data(sim.env.data), IMAGE_SIZE))
        frames['state'].append(sim.state())
        frames['labels'].append(experts.privileged(sim))
        frames['step'].append(sim.steps)
        frames['chunk'].append(expert.rollout(sim, HORIZON))
    return {key: np.stack(values) for key, values in frames.items()}


class PolicyDriver:
    """Let a policy act, and its teacher for some stretches, so that later stages are reached."""

    CHUNK_STEPS = 10
    EXPERT_SHARE = 0.25

    def __init__(
        self, policy: 'Policy', sim: 'MetaWorldSim', task: str, rng: np.random.Generator
    ) -> None:
        self.policy, self.sim, self.rng = policy, sim, rng
        self.instruction = rng.choice(paraphrases(task))
        self.rows: list[np.ndarray | None] = []
        policy.reset()

    def apply(self, action: np.ndarray, step: int) -> np.ndarray:
        """Return the action [4] of the policy, or the expert's ``action``."""
        if not self.rows:
            if self.rng.random() < self.EXPERT_SHARE:
                self.rows = [None] * self.CHUNK_STEPS
            else:
                frame = Frame(
                    {camera: self.sim.render() for camera in self.policy.perception.cameras},
                    self.sim.state(),
                    step * self.sim.PERIOD,
                )
                chunk = self.policy.act(frame, self.instruction)
                self.rows = list(chunk.actions[: self.CHUNK_STEPS])
        row = self.rows.pop(0)
        if row is None:
            return action
        return np.clip(np.append(row[:3] / self.sim.MAX_DELTA, row[3]), -1.0, 1.0)


def _job(
    folder: str, scene: str, task: str, index: int, speed: float, default_share: float, policy: str
) -> tuple[str, int]:
    path = Path(folder) / f'{scene}.{task}.{index:05d}.npz'
    if path.exists():
        return 'kept', 0
    if policy and policy not in _POLICIES:
        _POLICIES[policy] = _load_policy(policy)
    for attempt in range(ATTEMPTS):
        seed = TRAIN_SEED + ATTEMPTS * index + attempt
        episode = record(scene, task, seed, speed, default_share, _SIMS, _POLICIES.get(policy))
        if episode is not None:
            temporary = path.with_suffix('.tmp')
            with open(temporary, 'wb') as file:
                np.savez(file, allow_pickle=False, seed=seed, **episode)  # type: ignore[arg-type]
            os.replace(temporary, path)
            return 'made', len(episode['step'])
    return 'failed', 0


def _load_policy(folder: str) -> 'Policy':
    import torch

    from efficient_vla.policy import Policy

    torch.set_num_threads(1)
    return Policy.from_pretrained(folder, architecture='dual')


_SIMS: dict = {}
_POLICIES: dict = {}
"""The simulators (one a scene and rendering) and the policy of this worker process."""


OPTIONS = {
    '--tasks': ('', 'comma-separated tasks'),
    '--episodes': (150, 'episodes a task'),
    '--cross': (40, 'npz: episodes a pair of scene and another task of that scene'),
    '--speed': (0.6, "largest fraction of the arm's speed that experts use"),
    '--default-share': (0.1, 'npz: share of frames rendered with shadows and multisampling'),
    '--policy': ('', 'npz: folder of a policy that drives, while experts relabel (DAgger)'),
    '--first': (0, 'index of the first episode; give each DAgger round its own range'),
    '--workers': (os.cpu_count() or 1, 'processes, one a core'),
}
"""Option -> its default and what it says."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `efficient-vla data`."""
    for name, (default, about) in OPTIONS.items():
        unset = {'--tasks': 'all of the robot', '--policy': 'none, the experts drive'}
        shown = unset.get(name, default)
        parser.add_argument(
            name, type=type(default), default=default, help=f'{about} (default: {shown})'
        )


def main(args: argparse.Namespace) -> int:
    """Make what is missing of the demonstrations; interrupted runs resume."""
    tasks = args.tasks.split(',')
    args.out.mkdir(parents=True, exist_ok=True)
    common = (args.speed, args.default_share, args.policy)
    jobs: list[tuple] = [
        (str(args.out), task, task, index, *common)
        for index in range(args.first, args.first + args.episodes)
        for task in tasks
    ] + [
        (str(args.out), scene, task, index, *common)
        for index in range(args.first, args.first + args.cross)
        for scene, task in CROSS_TASKS
        if scene in tasks and task in tasks
    ]
    random.Random(0).shuffle(jobs)
    counts = {'made': 0, 'kept': 0, 'failed': 0}
    frames = 0

    def write() -> None:
        """Say how the episodes were made that are there."""
        recipe = {k: str(v) for k, v in vars(args).items() if k != 'command'} | counts
        (args.out / 'recipe.json').write_text(json.dumps(recipe, indent=2))
        missing = len(jobs) - sum(counts.values())
        Console().print(
            f'{counts["made"]} episodes made ({frames} frames), {counts["kept"]} were there, '
            f'{counts["failed"]} failed'
            + (f'; interrupted, {missing} are missing: the same command goes on' * bool(missing))
        )

    with unfinished.saving(write):
        made = in_workers(_job, jobs, args.workers)
        for outcome, length in track(made, 'episodes', len(jobs)):
            counts[outcome] += 1
            frames += length
    return 0
