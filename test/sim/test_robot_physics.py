# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot's thread with a point mass in place of the simulator."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.sim.interface import Simulation
from efficient_vla.sim.physics import SimulatedRobot
from efficient_vla.sim.settings import RobotSettings

WaitUntil = Callable[[Callable[[], bool], float, str], None]
PERIOD = 0.0125
SIMULATION = Simulation(
    scene=f'{__name__}:PointMass',
    instructions={'reach-v3': 'do reach-v3'},
    first_task='reach-v3',
    demo_tasks=(),
    camera='corner2',
    period=PERIOD,
    state_names=('x', 'y', 'z', 'gripper'),
    setpoint_names=('x', 'y', 'z'),
    effort_names=('gripper',),
)


class PointMass:
    """A hand that is always where its set-point is; the image shows how often it moved."""

    def __init__(self, task: str, render: str, size: int, max_steps: int) -> None:
        if task == 'no-such-task':
            raise ValueError(f'unknown task {task!r}')
        self.task = task
        self.instruction = f'do {task}'
        self.size = size
        self.max_steps = max_steps
        self.slow = threading.Event()
        self.reset(0)

    def reset(self, seed: int) -> None:
        self.place = np.array([0.0, 0.6, 0.2])
        self.steps = 0
        self.effort = 0.0
        self.success = False

    @property
    def done(self) -> bool:
        return self.success or self.steps >= self.max_steps

    def step(self, command: np.ndarray) -> None:
        self.place = self.place + np.clip(command[:3] - self.place, -0.01, 0.01)
        self.steps += 1
        self.effort = command[3]
        self.success = bool(self.place[0] > 0.195)

    def state(self) -> np.ndarray:
        return np.append(self.place, 1.0).astype(np.float32)

    def setpoint(self) -> np.ndarray:
        return self.place.copy()

    def snapshot(self) -> np.ndarray:
        return np.array([self.steps])

    def render_snapshot(self, snapshot: np.ndarray) -> np.ndarray:
        return np.full((self.size, self.size, 3), snapshot[0] % 256, np.uint8)

    def close(self) -> None:
        self.steps = 0


class Outputs:
    """Everything the robot said."""

    def __init__(self) -> None:
        self.clocks: list[float] = []
        self.states: list[tuple[float, np.ndarray]] = []
        self.images: list[tuple[float, int]] = []
        self.successes: list[bool] = []
        self.faults: list[str] = []
        self.render_s = 0.0

    def clock(self, stamp: float) -> None:
        # The clock is said again while time stands.
        if not self.clocks or self.clocks[-1] != stamp:
            self.clocks.append(stamp)

    def state(self, stamp: float, positions: np.ndarray) -> None:
        self.states.append((stamp, positions))

    def image(self, stamp: float, image: np.ndarray, render_ms: float) -> None:
        threading.Event().wait(self.render_s)
        self.images.append((stamp, int(image[0, 0, 0])))

    def success(self, value: bool) -> None:
        self.successes.append(value)

    def fault(self, reason: str) -> None:
        self.faults.append(reason)


@contextmanager
def robot(render_s: float = 0.0, **values: Any) -> Iterator[tuple[SimulatedRobot, Outputs]]:
    """Run a robot with settings in which ``_`` stands for the dot."""
    settings = build(RobotSettings, {name.replace('__', '.'): v for name, v in values.items()})
    outputs = Outputs()
    outputs.render_s = render_s
    made = SimulatedRobot(settings, outputs, time.monotonic, SIMULATION)
    made.load()
    made.start()
    try:
        yield made, outputs
    finally:
        made.stop()


def place(outputs: Outputs) -> np.ndarray:
    """Return the newest set-point."""
    return outputs.states[-1][1][4:]


def send(robot: SimulatedRobot, outputs: Outputs, step: float, stamp: float = 0.0) -> str:
    """Command a set-point ``step`` metres further along x; return why it was refused."""
    x, y, z = place(outputs)
    return robot.command(np.array([x + step, y, z, 0.0]), stamp)


def ticks(wait_until: WaitUntil, outputs: Outputs, count: int) -> None:
    """Wait for further states."""
    goal = len(outputs.states) + count
    wait_until(lambda: len(outputs.states) >= goal, 10.0, f'{count} more states')


def test_nothing_moves_before_the_first_command(wait_until: WaitUntil) -> None:
    with robot() as (_, outputs):
        ticks(wait_until, outputs, 10)
        wait_until(lambda: bool(outputs.images), 5.0, 'an image')
        assert outputs.states[0][1].tolist() == outputs.states[-1][1].tolist()
        assert outputs.images[-1][1] == 0
        assert outputs.successes == [False]


def test_robot_that_was_stopped_starts_without_the_target_and_the_fault_of_before(
    wait_until: WaitUntil,
) -> None:
    with robot(command__timeout=10.0) as (machine, outputs):
        ticks(wait_until, outputs, 2)
        assert send(machine, outputs, 0.09) == ''
        ticks(wait_until, outputs, 3)
        machine._set_fault('the solver diverged')
        machine.stop()
        stopped = machine._sim.setpoint()
        machine.start()
        assert outputs.faults[-1] == ''
        ticks(wait_until, outputs, 5)
        assert place(outputs).tolist() == stopped.tolist()


def test_robot_holds_its_set_point_when_commands_stop(wait_until: WaitUntil) -> None:
    with robot(command__timeout=0.05) as (machine, outputs):
        ticks(wait_until, outputs, 1)
        assert send(machine, outputs, 0.09) == ''
        ticks(wait_until, outputs, 8)
        # Four ticks of 1 cm pass before the timeout; without it the hand would go on to 9 cm.
        assert 0.035 < place(outputs)[0] < 0.065
        before = place(outputs)[0]
        ticks(wait_until, outputs, 8)
        assert place(outputs)[0] == pytest.approx(before)


@pytest.mark.parametrize('far', [(0.3, 0.6, 0.2), (0.0, 0.6, 0.4), (0.0, 0.4, 0.2)])
def test_command_far_from_the_set_point_is_refused_and_moves_nothing(
    wait_until: WaitUntil, far: tuple[float, ...]
) -> None:
    with robot() as (machine, outputs):
        ticks(wait_until, outputs, 1)
        refused = machine.command(np.array([*far, 0.0]), 0.0)
        assert 'at most command.max_jump 0.1 [m or rad]' in refused
        ticks(wait_until, outputs, 3)
        assert outputs.states[0][1].tolist() == outputs.states[-1][1].tolist()
        assert machine.report().rejected == 1


def test_success_ends_the_episode_and_reset_starts_the_next(wait_until: WaitUntil) -> None:
    with robot() as (machine, outputs):
        ticks(wait_until, outputs, 1)
        while not outputs.successes[-1]:
            assert send(machine, outputs, 0.05) == ''
            ticks(wait_until, outputs, 1)
        ended = place(outputs)
        send(machine, outputs, 0.05)
        ticks(wait_until, outputs, 3)
        assert place(outputs) == pytest.approx(ended)
        assert machine.reset_episode('other-task', 7).result(5.0) == 'do other-task'
        assert outputs.successes[-1] is False
        report = machine.report()
        assert (report.task, report.seed, report.steps) == ('other-task', 7, 0)
        ticks(wait_until, outputs, 2)
        assert place(outputs)[0] == 0.0


def test_a_command_without_efforts_leaves_the_gripper_as_it_is(wait_until: WaitUntil) -> None:
    with robot() as (machine, outputs):
        scene = machine._sim
        for efforts, expected in (((), 0.0), ((0.7,), 0.7), ((), 0.7)):
            ticks(wait_until, outputs, 1)
            assert not machine.command(np.array([*place(outputs), *efforts]), 0.0)
            ticks(wait_until, outputs, 2)
            assert scene.effort == expected
        machine.reset_episode('', 1).result(5.0)
        assert not machine.command(np.array([0.0, 0.6, 0.2]), 0.0)
        ticks(wait_until, outputs, 2)
        assert scene.effort == 0.0


def test_command_for_the_last_episode_does_not_move_the_next(wait_until: WaitUntil) -> None:
    with robot() as (machine, outputs):
        ticks(wait_until, outputs, 1)
        far = np.array([0.15, 0.6, 0.2, 0.0])
        while place(outputs)[0] < 0.14:
            send(machine, outputs, 0.05)
            ticks(wait_until, outputs, 1)
        machine.reset_episode('', 1).result(5.0)
        assert 'Disable and enable the controller' in machine.command(far, 0.0)
        ticks(wait_until, outputs, 3)
        assert place(outputs)[0] == 0.0


def test_unknown_task_is_an_error_and_the_scene_stays(wait_until: WaitUntil) -> None:
    with robot() as (machine, outputs):
        future: Future[str] = machine.reset_episode('no-such-task', 0)
        with pytest.raises(ValueError, match='unknown task'):
            future.result(5.0)
        assert machine.reset_episode('', 0).result(5.0) == 'do reach-v3'
        ticks(wait_until, outputs, 2)


def test_slow_camera_does_not_delay_physics(wait_until: WaitUntil) -> None:
    with robot(render_s=0.2, camera__rate=40.0) as (machine, outputs):
        ticks(wait_until, outputs, 100)
        report = machine.report()
        assert report.real_time_factor == pytest.approx(1.0, abs=0.15)
        assert report.frames_dropped > 5
        assert len(outputs.images) < 10


def test_lockstep_waits_for_a_command_and_for_a_chunk_of_each_image(wait_until: WaitUntil) -> None:
    with robot(mode='lockstep', camera__rate=20.0) as (machine, outputs):
        wait_until(lambda: bool(outputs.images), 5.0, 'an image')
        machine.gate.controller_report(following=True, observed=outputs.images[-1][0])
        answer_images(wait_until, machine, outputs)
        waiting = len(outputs.clocks)
        # Time stands still: one command lets exactly one tick pass.
        for _ in range(5):
            assert len(outputs.clocks) == waiting
            send(machine, outputs, 0.01, outputs.clocks[-1])
            answer_images(wait_until, machine, outputs)
            waiting += 1
            wait_until(lambda: len(outputs.clocks) >= waiting, 5.0, 'the next tick')  # noqa: B023
        assert outputs.clocks == pytest.approx(PERIOD * np.arange(1, waiting + 1))
        assert outputs.images[1][0] - outputs.images[0][0] == pytest.approx(0.05)
        assert not any(outputs.faults)


def answer_images(wait_until: WaitUntil, machine: SimulatedRobot, outputs: Outputs) -> None:
    """Report a chunk for the newest image until time waits for a command."""
    quiet = 0
    seen = (0, 0)

    def still() -> bool:
        nonlocal quiet, seen
        now = (len(outputs.clocks), len(outputs.images))
        if now != seen and outputs.images:
            machine.gate.plan_report(outputs.images[-1][0])
            machine.gate.controller_report(following=True, observed=outputs.images[-1][0])
        quiet = quiet + 1 if now == seen else 0
        seen = now
        return quiet > 10

    wait_until(still, 10.0, 'time stands still')


def test_lockstep_reports_what_it_waits_for_in_vain(wait_until: WaitUntil) -> None:
    with robot(mode='lockstep', lockstep__timeout=0.2) as (machine, outputs):
        wait_until(lambda: bool(outputs.images), 5.0, 'an image')
        answer_images(wait_until, machine, outputs)
        wait_until(lambda: any('no command' in f for f in outputs.faults), 5.0, 'a fault')
        machine.gate.controller_report(following=False, observed=0.0)
        wait_until(lambda: outputs.faults[-1] == '', 5.0, 'the end of the fault')


def test_factor_without_simulated_time_is_refused() -> None:
    with pytest.raises(InvalidSettingError, match='publish_clock'):
        build(RobotSettings, {'real_time_factor': 2.0})
    build(RobotSettings, {'real_time_factor': 2.0, 'publish_clock': True})
