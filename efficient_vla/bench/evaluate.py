# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Evaluate a policy in process, over tasks and seeds, in parallel."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from efficient_vla import unfinished
from efficient_vla.bench.lockstep import run_episode
from efficient_vla.bench.manifest import manifest
from efficient_vla.bench.overrides import build_settings, flat, merged
from efficient_vla.bench.report import report
from efficient_vla.bringup import deployment
from efficient_vla.bringup.fit import image_side, misfits, robot_of
from efficient_vla.errors import UsageError
from efficient_vla.instructions import checked_instruction
from efficient_vla.places import PolicyPlace
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import FolderFacts, folder_facts
from efficient_vla.records import EpisodeResult
from efficient_vla.settings import flatten
from efficient_vla.sim.catalogue import DEFAULT_ROBOT, simulation
from efficient_vla.sim.episodes import jobs, sensing
from efficient_vla.sim.interface import Scene, Simulation
from efficient_vla.workers import in_workers

IMAGE_SIDE = 480


@dataclass(frozen=True)
class Request:
    """What to evaluate; it travels to the worker processes."""

    policy: PolicyPlace
    tasks: tuple[str, ...]
    episodes: int
    seed: int
    """Episode ``i`` of every task is reset with ``seed + i``."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    instruction: str | None = None
    """Asked for instead of the episode's own sentence."""
    render: str = 'default'
    image_size: int = 0
    """Side of the images [px]; 0: that of the policy's training, where it says so, else 480."""
    video: Path | None = None
    workers: int = 1
    robot: str = DEFAULT_ROBOT

    def __post_init__(self) -> None:
        self.jobs()
        if self.instruction is not None:
            checked_instruction(self.instruction)
        shape = self.overrides.get('actor', {}).get('architecture')
        if shape == 'single' and self.overrides.get('eval', {}).get('actor_period'):
            raise UsageError(
                'a period of chunks, --chunk-period or eval.actor_period, cannot be set with '
                'architecture single, where every plan gives one chunk; set --plan-period instead.'
            )
        if 'rate' in self.overrides.get('controller', {}):
            raise UsageError(
                'controller.rate cannot be set in process, where the controller ticks once a step '
                f'of the simulator, {1 / self.simulation.period:.0f} Hz; leave it out or add '
                '--graph.'
            )
        if self.workers < 1:
            raise UsageError(f'{self.workers} workers; expected at least 1.')

    @property
    def simulation(self) -> Simulation:
        """What is known of the robot."""
        return simulation(self.robot)

    @property
    def side(self) -> int:
        """Side of the images [px]."""
        facts = self.facts
        return self.image_size or (image_side(facts) if facts else None) or IMAGE_SIDE

    @property
    def facts(self) -> FolderFacts | None:
        """What the policy's folder says; ``None`` of a server, which was not asked yet."""
        return folder_facts(self.policy) if isinstance(self.policy, Path) else None

    @property
    def sentence(self) -> str | None:
        """What is asked for instead of the episodes' own sentences; refuse what no policy reads."""
        return None if self.instruction is None else checked_instruction(self.instruction)

    @property
    def settings(self) -> dict[str, Any]:
        """Node -> settings: of the robot's profile, the policy's folder, and ``overrides``."""
        given = merged(deployment.values_of(self.policy), self.overrides)
        return build_settings(given, self.robot)

    def jobs(self) -> list[tuple[str, int]]:
        """Return task and seed of every episode."""
        return jobs(self.tasks, self.seed, self.episodes, self.robot)


def evaluate(
    request: Request, on_result: Callable[[EpisodeResult], None] | None = None
) -> dict[str, Any]:
    """Run all episodes and return the JSON object of ``efficient-vla eval``.

    Results do not depend on the number of workers. Raises ``UsageError``,
    ``InvalidSettingError``, ``CheckpointError`` or ``InvalidRecordError`` for bad input, and
    ``Interrupted`` with the object of the episodes until then.
    """
    refuse_misfit(request)
    results: list[EpisodeResult] = []
    with unfinished.carrying(lambda: _found(request, results)):
        for result in _run_all(request):
            results.append(result)
            if on_result:
                on_result(result)
    return _found(request, results)


def refuse_misfit(request: Request) -> None:
    """Raise ``UsageError`` where policy and robot do not fit together."""
    facts, settings = request.facts, request.settings
    if facts is not None:
        values = {node: flatten(group) for node, group in settings.items()}
        wrong = misfits(facts, robot_of(request.robot, values, request.simulation))
        if wrong:
            raise UsageError(wrong[0])


def _found(request: Request, results: list[EpisodeResult]) -> dict[str, Any]:
    """Return the JSON object of these results, with a note where some are missing."""
    if not results:
        return {}
    settings = request.settings
    facts = sensing(request.policy, request.render, request.side)
    order = {job: index for index, job in enumerate(request.jobs())}
    results.sort(key=lambda result: order[result.task, result.seed])
    parameters = {**flat(settings), 'controller.rate': 1 / request.simulation.period}
    period_ms = 1e3 * request.simulation.period
    control = {'period_ms': period_ms, 'period_p99_ms': period_ms}
    found = report(results, control, len(request.jobs()))
    found['manifest'] = manifest(
        request.policy,
        parameters,
        mode=f'in process, lock-step, {settings["eval"].delay:g} s of simulated time for inference',
        seeds=[request.seed, request.seed + request.episodes - 1],
        workers=request.workers,
        **facts,
    )
    return found


class Worker:
    """The loaded policy and the scene of the latest task, in one process."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.settings = request.settings
        self.stages = Policy.from_settings(request.policy, self.settings)
        self._sim: Scene | None = None

    def run(self, task: str, seed: int) -> EpisodeResult:
        """Run one episode."""
        request = self.request
        if self._sim is None or self._sim.task != task:
            self.close()
            self._sim = request.simulation.make(
                task, request.render, request.side, self.settings['eval'].max_steps
            )
        video = request.video / f'{task}-{seed}.mp4' if request.video else None
        return run_episode(self._sim, self.stages, self.settings, seed, request.sentence, video)

    def close(self) -> None:
        """Free the scene."""
        if self._sim is not None:
            self._sim.close()
            self._sim = None


def _run_all(request: Request) -> Iterator[EpisodeResult]:
    jobs = request.jobs()
    workers = min(request.workers, len(jobs))
    if workers == 1:
        with closing(Worker(request)) as worker:
            for task, seed in jobs:
                yield worker.run(task, seed)
        return
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    yield from in_workers(_run_job, jobs, workers, _start_worker, (request, threads))


_worker: Worker | None = None
_request: Request | None = None


def _start_worker(request: Request, threads: int) -> None:
    """Prepare a worker process."""
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        os.environ[name] = str(threads)
    global _request
    _request = request


def _run_job(task: str, seed: int) -> EpisodeResult:
    # The policy loads here and not in the initializer, whose errors would reach the parent only
    # as a broken pool.
    global _worker
    if _worker is None:
        assert _request is not None
        _worker = Worker(_request)
    return _worker.run(task, seed)
