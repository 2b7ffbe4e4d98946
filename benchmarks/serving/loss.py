# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How long the arm takes to hold after its policy's server was killed, and to go on after that."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.serving.process import ServerProcess
from efficient_vla.bench.graph_runner import READY_TIMEOUT_S, running
from efficient_vla.bringup.graph import Selection, describe
from efficient_vla.bringup.supervisor import Supervisor
from efficient_vla.errors import EpisodeError
from efficient_vla.nodes.client.episode_client import EpisodeClient

LOOK_S = 0.005
MOVES_S = 1.5
"""The arm follows chunks for so long before the server is killed."""
HOLDS_S = 1.0
"""It holds for so long before the server is started again."""
LIMIT_S = 240.0


class _Watch:
    """Notes when the state of the controller changes."""

    def __init__(self, client: EpisodeClient) -> None:
        self.state, self.since = 'unknown', time.monotonic()
        self._listener = client.listener
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def in_state(self, state: str, seconds: float = 0.0) -> bool:
        """Return whether it has been in a state for so long."""
        return self.state == state and time.monotonic() - self.since >= seconds

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            state = self._listener.view().state
            if state != self.state:
                self.state, self.since = state, time.monotonic()


class _MeasuredError(Exception):
    """Leaves a task that has shown what it was for."""


def measure_loss(
    server: ServerProcess, overrides: Mapping[str, Any], logs: Path
) -> dict[str, float]:
    """Kill the running ``server`` of a policy that moves all the time, and start it again.

    Returns ``hold_s``, from the death to the state holding, and ``recover_s``, from the moment at
    which the next server listens to the state tracking.
    """
    graph = describe(Selection(policy=server.address, overrides=overrides, log_level='warn'))
    with running(Supervisor(graph, logs)) as supervisor:
        found: dict[str, float] = {}
        steps = _steps(server, found)
        watch: _Watch | None = None

        def check() -> None:
            for event in supervisor.poll():
                if event.serious:
                    raise EpisodeError(f'{event.process}: {event.text} {event.log_tail}')
            if watch is not None and steps.send(watch):
                raise _MeasuredError

        client = EpisodeClient(check, record_images=False)
        try:
            client.wait_ready(supervisor.graph.nodes, READY_TIMEOUT_S, lambda _: None)
            client.reset('', 0)
            watch = _Watch(client)
            next(steps)
            client.run('move along', LIMIT_S)
            raise EpisodeError(f'the arm did not come so far within {LIMIT_S} s: {found}.')
        except _MeasuredError:
            return found
        finally:
            if watch is not None:
                watch.close()
            client.close()


def _steps(server: ServerProcess, found: dict[str, float]) -> Any:
    """Yield false until everything is measured; each look brings the watch."""
    watch: _Watch = yield False
    while not watch.in_state('tracking', MOVES_S):
        watch = yield False
    server.kill()
    killed = time.monotonic()
    while not watch.in_state('holding', HOLDS_S):
        watch = yield False
    found['hold_s'] = watch.since - killed
    server.start()
    listens = server.wait_listening()
    while not watch.in_state('tracking', 0.2):
        watch = yield False
    found['recover_s'] = max(watch.since - listens, 0.0)
    while True:
        yield True
