# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""An episode with openpi's client, one with its server, and the death of each kind of server."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.serving import openpi
from benchmarks.serving.loss import measure_loss
from benchmarks.serving.process import ServerProcess, free_port
from efficient_vla.bench.graph_runner import GraphRequest, run_graph
from efficient_vla.bench.lockstep import run_episode
from efficient_vla.bench.manifest import manifest
from efficient_vla.bench.overrides import build_settings
from efficient_vla.places import policy_place
from efficient_vla.policy import Policy, load_perception, load_reasoner
from efficient_vla.sim.catalogue import DEFAULT_ROBOT, simulation
from efficient_vla.types import ActionChunk, ControlMode, Execution, Frame, Plan

if TYPE_CHECKING:
    from efficient_vla.bench.graph_runner import Observer

KILL_SPEED = 0.01
"""Of the arm whose server is killed [m/s]: slow, so that it stays inside its workspace."""


class PublicClientActor:
    """openpi's own client where an actor is; our server's metadata say what its answers mean."""

    architecture = 'dual'
    needs_image = True
    parameters_mb = 0.0

    def __init__(self, client: Any) -> None:
        said = client.get_server_metadata()['efficient_vla']
        (self.cameras,) = (tuple(said['cameras']),)
        self.state_names = tuple(name for names in said['state'].values() for name in names)
        self.took_ms: list[float] = []
        self._client, self._actions = client, said['actions']

    def configure(self, settings: Any) -> None:
        """Take nothing: the server decides."""

    def reset(self, reason: str = 'reset') -> None:
        """Begin anew, which openpi's client does not tell its server."""
        self._client.reset()

    def note_execution(self, execution: Execution | None) -> None:
        """Do nothing: the client has no word for it."""

    def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
        """Return what the server answers."""
        begin = time.perf_counter()
        answer = self._client.infer(
            {
                'observation/image': frame.images[self.cameras[0]],
                'observation/state': frame.state,
                'prompt': plan.instruction,
            }
        )
        self.took_ms.append((time.perf_counter() - begin) * 1e3)
        return ActionChunk(
            actions=np.array(answer['actions']),
            dt=self._actions['dt'],
            names=tuple(self._actions['names']),
            control_mode=ControlMode[self._actions['control_mode']],
            stamp=frame.stamp,
            plan_stamp=plan.stamp,
            plan_valid_for=plan.valid_for,
            instruction=plan.instruction,
        )


def measure(
    checkout: Path,
    policy: Path,
    task: str,
    seed: int,
    observer: 'Observer',
    on_row: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Return the rows and the manifest; ``on_row`` is told each row as it comes."""
    facts = openpi.checked(checkout)
    rows: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        on_row(row)

    with tempfile.TemporaryDirectory(prefix='efficient_vla_serving_') as folder:
        logs = Path(folder)
        moving = logs / 'moving'
        moving.mkdir()
        (moving / 'policy.json').write_text(
            json.dumps({'policy_type': 'passthrough', 'velocity': [0.0, KILL_SPEED, 0.0]})
        )
        with ours(policy, logs) as server:
            add(public_client(checkout, server, task, seed))
        with theirs(checkout, policy, logs) as server:
            add(public_server(server, task, seed, observer))
        for name, server in (
            ('killed: efficient-vla serve', ours(moving, logs)),
            ('killed: openpi server', theirs(checkout, moving, logs)),
        ):
            with server:
                add({'name': name, **measure_loss(server, foreign(), logs)})
    about = manifest(policy, {}, openpi=facts, task=task, seed=seed)
    return {'rows': rows, 'manifest': about}


def ours(policy: Path, logs: Path) -> ServerProcess:
    """Return ``efficient-vla serve`` of a policy."""
    port = free_port()
    words = ['-m', 'efficient_vla.cli', 'serve', '--policy', str(policy), '--port', str(port)]
    return ServerProcess(words, port, logs / f'{port}.log')


def theirs(checkout: Path, policy: Path, logs: Path) -> ServerProcess:
    """Return openpi's server around a policy."""
    port = free_port()
    words = ['-m', 'benchmarks.serving.openpi', str(checkout), str(policy), str(port)]
    return ServerProcess(words, port, logs / f'{port}.log')


def foreign() -> dict[str, Any]:
    """Return what openpi's server does not say; the rest stands in the profile of the robot."""
    cameras = [simulation(DEFAULT_ROBOT).camera]
    return {'perception.remote.cameras': cameras, 'actor.remote.cameras': cameras}


def public_client(checkout: Path, server: ServerProcess, task: str, seed: int) -> dict[str, Any]:
    """Run one episode in lock-step whose chunks come through openpi's client."""
    module = openpi.load(checkout, 'client')
    actor = PublicClientActor(module.WebsocketClientPolicy('127.0.0.1', server.port))
    settings = build_settings({})
    place = policy_place(server.address)
    stages = Policy(
        load_perception(place, settings['perception']),
        load_reasoner(place, settings['reasoner']),
        actor,
    )
    scene = simulation(DEFAULT_ROBOT).make(task, 'fast', 480, settings['eval'].max_steps)
    try:
        found = run_episode(scene, stages, settings, seed, scene.instruction)
    finally:
        scene.close()
    return {
        'name': 'openpi client on efficient-vla serve',
        'success': found.success,
        'duration_s': found.duration_s,
        'chunks': len(actor.took_ms),
        'round_trip_p50_ms': float(np.median(actor.took_ms)),
    }


def public_server(
    server: ServerProcess, task: str, seed: int, observer: 'Observer'
) -> dict[str, Any]:
    """Run one episode of our graph whose policy is openpi's server."""
    overrides: dict[str, dict[str, Any]] = {}
    for word, value in foreign().items():
        node, _, parameter = word.partition('.')
        overrides.setdefault(node, {})[parameter] = value
    request = GraphRequest(policy_place(server.address), [(task, seed)], overrides)
    found = run_graph(request, observer)
    (episode,) = found['episodes']
    return {
        'name': 'graph on openpi server',
        'success': episode['success'],
        'duration_s': episode['duration_s'],
        'round_trip_p50_ms': found['stages']['actor']['latency_ms']['p50'],
    }
