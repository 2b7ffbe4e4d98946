# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Episodes through the running graph, in wall-clock time."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from efficient_vla import interrupts, unfinished
from efficient_vla.bench.loop_latency import camera_to_command
from efficient_vla.bench.manifest import manifest
from efficient_vla.bench.overrides import flat, graph_settings
from efficient_vla.bench.report import merged_stages, report
from efficient_vla.bench.video import VideoWriter
from efficient_vla.errors import EpisodeError
from efficient_vla.places import PolicyPlace
from efficient_vla.policy import architecture_of
from efficient_vla.records import EpisodeResult
from efficient_vla.sim.catalogue import DEFAULT_ROBOT, node_name, simulation
from efficient_vla.sim.episodes import sensing

if TYPE_CHECKING:
    from efficient_vla.bringup.supervisor import Supervisor
    from efficient_vla.nodes.client.episode_client import EpisodeClient
    from efficient_vla.nodes.client.graph_listener import LiveView, Recording

START_S = 3.0
"""Wall time for the first plan and chunk, in which the robot does not move yet."""
READY_TIMEOUT_S = 120.0
DEFAULT_FPS = 10.0


@dataclass(frozen=True)
class GraphRequest:
    """What to run through the graph."""

    policy: PolicyPlace
    jobs: Sequence[tuple[str, int]]
    """Task and seed of every episode."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Node -> parameter -> value, stronger than the profiles."""
    hardware: str = 'cpu_2core'
    robot: str = DEFAULT_ROBOT
    instruction: str | None = None
    video: Path | None = None
    keep_frames: bool = False
    log_folder: Path | None = None
    episode_s: float | None = None
    """Simulated time after which an episode has failed; by default its ``max_steps``."""


class Observer(Protocol):
    """Shows what happens; every method is called in the main thread."""

    results: list[EpisodeResult]
    """How the episodes ended until now."""

    def starting(self, states: Mapping[str, str]) -> None:
        """Show how far the nodes are, several times a second while the graph starts."""

    def event(self, text: str) -> None:
        """Show that something happened to a process."""

    def start(self, task: str, seed: int, instruction: str) -> None:
        """Show which episode runs."""

    def tick(self, view: 'LiveView') -> None:
        """Show the newest reports, several times a second."""

    def finish(self, result: EpisodeResult, frames: list[tuple[float, np.ndarray]]) -> None:
        """Show how an episode ended; ``frames`` are seconds since its start and image."""


def run_graph(request: GraphRequest, observer: Observer) -> dict[str, Any]:
    """Start the graph, run all episodes, end the graph; return the JSON object with manifest.

    Raises ``InvalidSettingError`` before anything starts, and ``EpisodeError`` when the graph
    fails; all processes have ended then as well.
    """
    from efficient_vla.bringup.graph import Selection, describe
    from efficient_vla.bringup.supervisor import Supervisor
    from efficient_vla.nodes.client.neighbours import refuse_neighbours

    graph = describe(
        Selection(
            robot=request.robot,
            hardware=request.hardware,
            policy=str(request.policy),
            overrides=dotted(request.overrides),
            log_level='warn',
        )
    )
    settings = graph_settings(graph.parameters)
    robot = settings[node_name(request.robot)]
    facts = sensing(request.policy, robot.camera.render, robot.camera.size)
    lasts = robot.max_steps * simulation(request.robot).period
    limit = (request.episode_s or lasts) / robot.real_time_factor + START_S
    refused = refuse_neighbours(graph.nodes, graph.namespace)
    if refused:
        raise EpisodeError(refused)
    done: list[tuple[EpisodeResult, Recording]] = []
    with (
        tempfile.TemporaryDirectory(prefix='efficient_vla_log_') as logs,
        running(Supervisor(graph, request.log_folder or Path(logs))) as supervisor,
        _client(supervisor, request, observer) as client,
    ):

        def found() -> dict[str, Any]:
            resident = {child.process.name: child.use()[1] for child in supervisor.children}
            own = {name: settings[name] for name in graph.nodes}
            return _report(request, done, resident, own, facts) if done else {}

        with unfinished.carrying(found):
            for task, seed in request.jobs:
                done.append(_run_job(client, request, observer, task, seed, limit))
        return found()


def dotted(overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``node.param`` -> value."""
    return {
        f'{node}.{name}': value
        for node, values in overrides.items()
        for name, value in values.items()
    }


@contextmanager
def running(supervisor: 'Supervisor') -> Iterator['Supervisor']:
    """Start all processes and end them at the end, however it comes."""
    with interrupts.unwinding():
        try:
            with unfinished.postponed():
                supervisor.start()
            yield supervisor
        finally:
            supervisor.stop()


@contextmanager
def _client(
    supervisor: 'Supervisor', request: GraphRequest, observer: Observer
) -> 'Iterator[EpisodeClient]':
    from efficient_vla.nodes.client.episode_client import EpisodeClient

    starting = True

    def check() -> None:
        for event in supervisor.poll():
            # What dies in an episode is started again and the episode goes on; what cannot even
            # start would only fail again.
            if supervisor.failed or (starting and event.serious):
                raise EpisodeError(f'{event.process}: {last_error(event.log_tail) or event.text}')
            observer.event(f'{event.process}: {event.text}')
        observer.tick(client.listener.view())

    record = request.video is not None or request.keep_frames
    client = EpisodeClient(check, record, supervisor.graph.namespace, request.robot)
    try:
        client.wait_ready(supervisor.graph.nodes, READY_TIMEOUT_S, observer.starting)
        starting = False
        yield client
    finally:
        client.close()


def last_error(log: str) -> str:
    """Return the last error in a log of ROS, without its time and level; '' where there is none."""
    errors = [line for line in log.splitlines() if line.startswith(('[ERROR]', '[FATAL]'))]
    return errors[-1].partition(']: ')[2] if errors else ''


def _run_job(
    client: 'EpisodeClient',
    request: GraphRequest,
    observer: Observer,
    task: str,
    seed: int,
    limit: float,
) -> 'tuple[EpisodeResult, Recording]':
    own = client.reset(task, seed)
    instruction = own if request.instruction is None else request.instruction
    observer.start(task, seed, instruction)
    outcome, recording = client.run(instruction, limit)
    begin = recording.frames[0][0] if recording.frames else 0.0
    frames = [(stamp - begin, image) for stamp, image in recording.frames]
    recording.frames = []
    video = request.video / f'{task}-{seed}.mp4' if request.video and frames else None
    if video:
        _write_video(video, task, instruction, frames, outcome.success)
    result = EpisodeResult(
        task,
        seed,
        instruction,
        outcome.success,
        outcome.duration_s,
        recording.underruns,
        recording.max_jerk,
        recording.rejected_chunks,
        recording.stages,
        str(video) if video else '',
        outcome.message,
    )
    observer.finish(result, frames)
    return result, recording


def _write_video(
    path: Path, task: str, instruction: str, frames: list[tuple[float, np.ndarray]], success: bool
) -> None:
    spacing = float(np.median(np.diff([seconds for seconds, _ in frames]))) if frames[1:] else 0.0
    fps = min(max(1 / spacing, 1.0), 60.0) if spacing > 0 else DEFAULT_FPS
    with VideoWriter(path, fps, task, instruction) as writer:
        for index, (seconds, image) in enumerate(frames):
            writer.add(image, seconds, success and index == len(frames) - 1)


def _report(
    request: GraphRequest,
    done: 'Sequence[tuple[EpisodeResult, Recording]]',
    resident: Mapping[str, float],
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    results = [result for result, _ in done]
    recordings = [recording for _, recording in done]
    periods = [period for recording in recordings for period in recording.periods_ms]
    control = {
        'period_ms': float(np.mean(periods)) if periods else 0.0,
        'period_p99_ms': max(recording.period_p99_ms for recording in recordings),
        'max_plan_age_s': max(recording.max_plan_age_s for recording in recordings),
    }
    found = report(results, control, len(request.jobs))
    rates = [rate for recording in recordings for rate in recording.command_rates_hz]
    # The controller's passes are chunks; its rate is that of the commands.
    found['rates_hz']['controller'] = float(np.mean(rates)) if rates else 0.0
    stages = merged_stages(results)
    shape = architecture_of(request.policy, settings['actor'])
    found['camera_to_command'] = camera_to_command(stages, shape)
    found['resident_mb'] = {name: round(value, 1) for name, value in resident.items()}
    # The checkpoint has its own entry; a path would name this machine.
    parameters = {k: v for k, v in flat(settings).items() if not k.endswith('.policy')}
    found['manifest'] = manifest(
        request.policy,
        parameters,
        mode='graph, wall-clock time',
        hardware=request.hardware,
        seeds=sorted({seed for _, seed in request.jobs}),
        **facts,
    )
    return found
