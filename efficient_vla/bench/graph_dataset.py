# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Episodes of the running graph as a LeRobotDataset."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from efficient_vla.bench.graph_runner import GraphRequest, Observer, run_graph
from efficient_vla.errors import EpisodeError
from efficient_vla.records import EpisodeResult
from efficient_vla.sim.catalogue import simulation
from efficient_vla.training.lerobot_dataset import DatasetWriter
from efficient_vla.training.lerobot_recording import resampled
from efficient_vla.training.lerobot_units import PolicyUnits, policy_units

if TYPE_CHECKING:
    from efficient_vla.nodes.client.graph_listener import LiveView
    from efficient_vla.nodes.client.graph_recorder import GraphRecorder


class DatasetObserver:
    """Writes every episode that another observer is shown, those that failed where asked to."""

    def __init__(
        self,
        inner: Observer,
        recorder: 'GraphRecorder',
        writer: DatasetWriter,
        units: PolicyUnits,
        keep_failed: bool,
        tell: Callable[[str], None],
    ) -> None:
        """``units`` say what the dataset holds; ``tell`` takes remarks."""
        self._inner, self._recorder, self._writer = inner, recorder, writer
        self.results = inner.results
        self._units, self._keep_failed, self._tell = units, keep_failed, tell

    def starting(self, states: Mapping[str, str]) -> None:
        """Show how far the nodes are."""
        self._inner.starting(states)

    def event(self, text: str) -> None:
        """Show that something happened to a process."""
        self._inner.event(text)

    def tick(self, view: 'LiveView') -> None:
        """Show the newest reports."""
        self._inner.tick(view)

    def start(self, task: str, seed: int, instruction: str) -> None:
        """Record from now on."""
        self._inner.start(task, seed, instruction)
        self._recorder.start_recording()

    def finish(self, result: EpisodeResult, frames: list[tuple[float, np.ndarray]]) -> None:
        """Write what was recorded."""
        flow = self._recorder.stop_recording()
        self._inner.finish(result, frames)
        if not (result.success or self._keep_failed):
            return
        fps, camera = self._writer.layout.fps, next(iter(self._writer.layout.cameras))
        found = resampled(flow, fps, self._units.relative)
        if found.repeated:
            self._tell(
                f'{result.task} {result.seed}: {found.repeated} of {len(found.images)} frames show '
                'the image before again, since no newer one was captured.'
            )
        self._writer.add_episode(
            {camera: found.images},
            self._units.state(found.state),
            self._units.action(found.action),
            result.instruction,
        )


def record_graph(
    request: GraphRequest,
    observer: Observer,
    writer: DatasetWriter,
    keep_failed: bool,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Run the episodes of a request and write them; return the report of the graph.

    Raises ``EpisodeError`` where no episode was kept, or the graph failed.
    """
    from efficient_vla.nodes.client.graph_recorder import GraphRecorder

    robot = simulation(request.robot)
    # Rows are the set-points on command, where no driver stands between.
    direct = {**request.overrides.get('controller', {}), 'output': 'command'}
    overrides = {**request.overrides, 'controller': direct}
    with closing(GraphRecorder(robot)) as recorder:
        recorder.start()
        found = run_graph(
            replace(request, overrides=overrides),
            DatasetObserver(
                observer, recorder, writer, policy_units(request.robot), keep_failed, tell
            ),
        )
    if not writer.episodes:
        raise EpisodeError(
            f'none of {len(request.jobs)} episodes succeeded, so that nothing was written. Use a '
            'policy that knows these tasks, or add --keep-failed.'
        )
    return found
