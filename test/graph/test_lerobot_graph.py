# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of LeRobot drive the simulated robot through the real graph, as they are."""

import re
from pathlib import Path
from typing import Any

import pytest
from fixtures.metaworld_folders import LEROBOT, fitted

from efficient_vla.bench.graph_runner import GraphRequest, run_graph
from efficient_vla.bringup.catalogue import POLICY_NODES
from efficient_vla.bringup.graph import Process, Selection, describe

EPISODE_S = 1.5
LATE = r'chunk has an observation|chunk has nothing left|plan \d+ is'
"""Why chunks are refused on a machine that others keep busy; all else is a fault."""
WANTED = {'perception', 'reasoner', 'actor'}


class Silent:
    """An observer that keeps what it is shown."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.events: list[str] = []

    def starting(self, states: Any) -> None: ...

    def event(self, text: str) -> None:
        self.events.append(text)

    def start(self, task: str, seed: int, instruction: str) -> None: ...

    def tick(self, view: Any) -> None: ...

    def finish(self, result: Any, frames: Any) -> None:
        self.results.append(result)


@pytest.fixture(autouse=True)
def hub(monkeypatch):
    monkeypatch.setenv('HF_HUB_CACHE', str(LEROBOT / 'hub'))


@pytest.mark.parametrize(
    ('name', 'overrides'),
    [
        ('act', {}),
        ('smolvla', {}),
        ('smolvla', {'actor': {'architecture': 'dual'}, 'reasoner': {'max_rate': 2.0}}),
    ],
    ids=['act', 'smolvla', 'smolvla_dual'],
)
def test_a_folder_of_lerobot_moves_the_robot(
    ros_domain: int, tmp_path: Path, name: str, overrides: dict[str, dict[str, Any]]
) -> None:
    folder = fitted(name, tmp_path / name)
    # Ten rows a second, so that a chunk outlasts an inference of a machine that is busy.
    slow = {'joints.rate': 10.0}
    given = {node: {**slow, **overrides.get(node, {})} for node in ('actor', 'reasoner')}
    observer = Silent()
    logs = tmp_path / 'logs'
    request = GraphRequest(
        folder, [('reach-v3', 1000)], given, episode_s=EPISODE_S, log_folder=logs
    )
    found = run_graph(request, observer)
    (result,) = observer.results
    assert set(found['stages']) >= WANTED
    assert all(found['stages'][stage]['latency_ms']['p50'] > 0 for stage in WANTED)
    said = (logs / 'controller.log').read_text().splitlines()
    refused = [line.split(']: chunk: ')[1] for line in said if ']: chunk: ' in line]
    assert result.rejected_chunks == 0 or refused
    assert all(re.match(LATE, reason) for reason in refused), refused
    assert found['manifest']['parameters']['metaworld_robot.camera.size'] == 64
    # Eight rows of a tenth of a second: twice as long, the graph waits for the next chunk.
    assert found['manifest']['parameters']['controller.watchdog.chunk_timeout'] == 1.6
    assert set(found['resident_mb']) == {'policy', 'controller', 'metaworld_robot', 'monitor'}
    assert not observer.events


def test_the_stages_of_a_fitted_folder_share_a_process(tmp_path: Path) -> None:
    graph = describe(Selection(policy=str(fitted('act', tmp_path / 'act'))))
    assert graph.processes[0] == Process('policy', POLICY_NODES)
