# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How steady the control loop is while inference takes every core, and how fast it stops.

The controller runs as in the graph: a process of its own with the parameters of the hardware and
the robot profile. A probe in another process plays robot and actor.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla import unfinished
from efficient_vla.bringup import child
from efficient_vla.bringup.graph import Selection, command, describe, environment
from efficient_vla.bringup.parameter_files import parameters_yaml
from efficient_vla.control.robot_limits.urdf import text_of
from efficient_vla.errors import UsageError

STOPS = 10
LOAD_NICE = 5
"""Niceness of the reasoner in config/hardware/cpu_2core.yaml."""
START_TIMEOUT_S = 120.0
END_TIMEOUT_S = 20.0


SWING = {'controller.contract.first_length': 0.5}
ARM_NAMES = [f'panda_joint{number}' for number in range(1, 8)]
ARM_HOME = [0.0, -math.pi / 4, 0.0, -3 * math.pi / 4, 0.0, math.pi / 2, math.pi / 4]
ARM = {
    'names': [*ARM_NAMES, 'gripper'],
    'kinematics.description': 'robots/panda.urdf',
    'collision.table': [-0.1],
    # The probe waits for a core like any other process, and says late where the arm is.
    'following_error': 0.0,
    'reset_distance': [1.0],
    # It begins anywhere on the swing.
    'contract.first_angle': 3.0,
    # Limits of the arm as Franka gives them [rad/s, rad/s^2, rad/s^3].
    'limits.max_velocity': [2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61],
    'limits.max_acceleration': [15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0],
    'limits.max_jerk': [7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0],
    'limits.stop_deceleration': [15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0],
    'limits.position_low': [-2.897, -1.7627, -2.897, -3.0717, -2.897, -0.0174, -2.897],
    'limits.position_high': [2.897, 1.7627, 2.897, -0.0698, 2.897, 3.7524, 2.897],
}
"""Parameters of a controller of seven joints that turns rows of the tool and checks collisions."""


def measure_timing(
    seconds: float,
    rate: float,
    load: bool,
    stops: int = STOPS,
    privileged: bool = True,
    arm: bool = False,
) -> list[dict[str, Any]]:
    """Run the controller at ``rate`` [Hz] for so long and return one row of what was measured.

    With ``load`` one process a core multiplies matrices at the niceness of the reasoner. Without
    ``privileged`` the controller asks for neither real-time priority nor a negative niceness, as
    on a system that grants none. With ``arm`` it drives seven joints by rows of the tool, through
    inverse kinematics and checks of collisions. Periods are those that the controller measured
    itself; limits are checked on the set-points that came out of it.

    Raises ``UsageError`` when a process fails.
    """
    namespace = f'timing_{os.getpid()}'
    # The swing is under way, wherever the robot stands as the first chunk comes.
    overrides: dict[str, Any] = {'controller.rate': float(rate), **SWING}
    if not privileged:
        overrides |= {'controller.priority': 0, 'controller.nice': 0}
    if arm:
        overrides |= {f'controller.{name}': value for name, value in ARM.items()}
    graph = describe(Selection(namespace=namespace, overrides=overrides))
    process = next(p for p in graph.processes if p.nodes == ('controller',))
    environ = {**os.environ, **environment(os.environ)}
    with tempfile.TemporaryDirectory() as folder, _burning(load, environ):
        parameters = Path(folder) / 'overrides.yaml'
        parameters.write_text(parameters_yaml(graph.parameters))
        log = Path(folder) / 'controller.log'
        running = child.spawn(command(graph, process, parameters), environ, log)
        try:
            found = _probe(namespace, seconds, stops, arm, environ, log)
            policy = os.sched_getscheduler(running.pid)
            nice = os.getpriority(os.PRIO_PROCESS, running.pid)
        finally:
            _end(running)
    row = {
        'rate_hz': float(rate),
        'joints': len(ARM_NAMES) if arm else 0,
        'load': load,
        'load_nice': LOAD_NICE if load else None,
        'cores': len(os.sched_getaffinity(0)),
        'seconds': float(seconds),
        'real_time': policy == os.SCHED_FIFO,
        'nice': nice,
        **found,
    }
    return [row]


@contextmanager
def _burning(load: bool, environ: dict[str, str]) -> Iterator[None]:
    """Keep every core busy meanwhile, where ``load`` says so."""
    count = len(os.sched_getaffinity(0)) if load else 0
    module = [sys.executable, '-m', 'benchmarks.motion.burn', str(LOAD_NICE)]
    with unfinished.postponed(), unfinished.kept_from_children():
        burners = [
            subprocess.Popen(module, env=environ, stdout=subprocess.PIPE) for _ in range(count)
        ]
    try:
        for burner in burners:
            assert burner.stdout is not None
            if not burner.stdout.readline():
                raise UsageError('the load could not be started; is torch installed?')
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.communicate()


def _probe(
    namespace: str, seconds: float, stops: int, arm: bool, environ: dict[str, str], log: Path
) -> dict[str, Any]:
    words = ['--seconds', str(seconds), '--stops', str(stops), '--namespace', namespace]
    if arm:
        words += ['--joints', *ARM_NAMES, '--home', *map(str, ARM_HOME)]
        words += ['--place', *map(str, _tool_place())]
    probe = subprocess.run(
        [sys.executable, '-m', 'efficient_vla.nodes.client.loop_probe', *words],
        env=environ,
        text=True,
        capture_output=True,
        timeout=2 * seconds + START_TIMEOUT_S,
        check=False,
    )
    if probe.returncode:
        said = log.read_text(errors='replace')[-800:]
        raise UsageError(f'the probe failed: {probe.stderr.strip()[-800:]} Controller: {said}')
    found: dict[str, Any] = json.loads(probe.stdout.splitlines()[-1])
    return found


def _tool_place() -> list[float]:
    """Return where the tool is while the arm is at home [3]."""
    from efficient_vla.control.kinematics.arm import ArmModel

    text = text_of('kinematics.description', str(ARM['kinematics.description']))
    place: list[float] = ArmModel(text, ARM_NAMES).place(np.array(ARM_HOME)).translation.tolist()
    return place


def _end(process: 'subprocess.Popen[bytes]') -> None:
    child.terminate(process)
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
