# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's chunk queues on the same recorded chunks and delays, in an interpreter of their own."""

import dataclasses
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.motion import lerobot_script
from benchmarks.motion.playback import Played, Scenario
from benchmarks.motion.recording import RecordedMotion
from efficient_vla.errors import UsageError

OVERLAPPED_METHODS = {
    'ActionQueue, replaced': 'queue:replace',
    'RobotClient, weighted_average': 'client:weighted_average',
    'RobotClient, latest_only': 'client:latest_only',
}
"""What can be fed with chunks that are computed at the same time; name -> method."""
WORKER_METHODS = {
    'ActionQueue, replaced': 'queue:replace',
    'ActionQueue, appended': 'queue:append',
    'ActionQueue, asked when empty': 'synchronous',
    'RTC, execution_horizon 10': 'rtc:10',
    'RTC, execution_horizon 24': 'rtc:24',
    'RobotClient, weighted_average': 'client:weighted_average',
}
"""With one chunk under way at a time, asked for when LeRobot asks; name -> method."""
TIMEOUT_S = 600.0
OWN_ENVIRONMENT = ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV', 'LD_LIBRARY_PATH', 'LD_PRELOAD')
"""Variables that lead another interpreter to our packages or libraries."""


def methods_for(in_flight: int) -> dict[str, str]:
    """Return name -> method of what can be played with so many chunks under way."""
    return WORKER_METHODS if in_flight == 1 else OVERLAPPED_METHODS


def play_lerobot(
    python: Path, tasks: Sequence[tuple[RecordedMotion, Scenario, str]]
) -> tuple[str, list[Played]]:
    """Return LeRobot's version and one motion for each recording, scenario and method.

    Raises ``UsageError`` where that interpreter or its LeRobot does not work.
    """
    recordings = list({id(task[0]): task[0] for task in tasks}.values())
    arrays: dict[str, Any] = {f'chunks_{i}': item.chunks for i, item in enumerate(recordings)}
    arrays |= {f'start_{i}': item.start for i, item in enumerate(recordings)}
    longest = max(len(item.chunks) for item in recordings)
    for seed in {scenario.seed for _, scenario, _ in tasks}:
        arrays[f'draws_{seed}'] = np.random.default_rng(seed).uniform(size=(longest, 2))
    places = {id(item): index for index, item in enumerate(recordings)}
    jobs = [
        json.dumps(
            {
                'recording': places[id(recording)],
                'method': method,
                'dt': recording.dt,
                **dataclasses.asdict(scenario),
            }
        )
        for recording, scenario, method in tasks
    ]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, 'in.npz'), Path(folder, 'out.npz')
        np.savez(source, jobs=np.array(jobs), **arrays)
        _run(python, source, target)
        with np.load(target, allow_pickle=False) as found:
            motions = [
                Played(
                    found[f'positions_{i}'],
                    found[f'driven_{i}'],
                    found[f'driven_{i}'].astype(float),
                    tuple(found[f'arrivals_{i}'].tolist()),
                )
                for i in range(len(jobs))
            ]
            return str(found['version']), motions


def _run(python: Path, source: Path, target: Path) -> None:
    script = Path(lerobot_script.__file__)
    environment = {k: v for k, v in os.environ.items() if k not in OWN_ENVIRONMENT}
    try:
        done = subprocess.run(
            [str(python), str(script), str(source), str(target)],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            env=environment,
            cwd=source.parent,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f'--peer-python {python} did not play the chunks: {error}. Name the interpreter of an '
            'environment with LeRobot.'
        ) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ['no message'])[-1]
        raise UsageError(
            f'--peer-python {python} failed: {reason}. Install LeRobot there with '
            "pip install 'lerobot[async]'."
        )
