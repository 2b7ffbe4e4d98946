# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot's own thread: physics, commands, episodes and time, without ROS.

In realtime mode a tick is due every period on the wall clock and a late tick is caught up. In
lockstep mode time waits for a command at every tick and for a chunk of every image. Before the
first command of an episode nothing moves, and neither does anything after its end.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from efficient_vla.sim.camera import CameraWorker
from efficient_vla.sim.interface import Scene, Simulation
from efficient_vla.sim.lockstep import REPEAT_S, LockstepGate
from efficient_vla.sim.settings import RobotSettings

MAX_BACKLOG_S = 0.25
"""Wall time that is caught up at most; the rest lowers the real-time factor."""
RATE_WINDOW_S = 2.0
CONTEXT_TIMEOUT_S = 30.0
RESEND_S = 5.0
"""Wall time after which lockstep sends an unanswered image again; longer than any pass takes."""


class RobotOutputs(Protocol):
    """Where the robot sends what it measures; called in the robot's threads."""

    def clock(self, stamp: float) -> None:
        """Publish simulated time [s]."""

    def state(self, stamp: float, positions: np.ndarray) -> None:
        """Publish float64 [S + P] in the order of ``Simulation.reported_names``."""

    def image(self, stamp: float, image: np.ndarray, render_ms: float) -> None:
        """Publish an rgb image, uint8 [rows, columns, 3]."""

    def success(self, value: bool) -> None:
        """Publish whether the episode's task is done."""

    def fault(self, reason: str) -> None:
        """Report what keeps the robot from running; empty when it runs again."""


class ArmDriver(Protocol):
    """What turns trajectories into set-points; called in the physics thread."""

    newest: float
    """Start of the newest trajectory since ``reset`` [s]."""
    commanded: bool
    """Whether the arm was told anything since then."""

    def reset(self, measured: np.ndarray, stamp: float) -> None:
        """Begin anew where the arm is measured [P]."""

    def tell(self, stamp: float, measured: np.ndarray) -> None:
        """Publish where the arm is [P]."""

    def follow(self, stamp: float, measured: np.ndarray) -> np.ndarray:
        """Return the set-points [P] of the next period."""


@dataclass(frozen=True, slots=True)
class RobotReport:
    """What the robot achieved lately."""

    task: str
    seed: int
    steps: int
    success: bool
    real_time_factor: float
    rejected: int
    frames_dropped: int


class _Target(NamedTuple):
    values: np.ndarray
    """[A], set-points first."""
    stamp: float
    tick: int


@dataclass(frozen=True, slots=True)
class _Reset:
    task: str
    seed: int
    done: 'Future[str]'


class SimulatedRobot:
    """One robot that runs by itself from ``start`` to ``stop``."""

    def __init__(
        self,
        settings: RobotSettings,
        outputs: RobotOutputs,
        now: Callable[[], float],
        simulation: Simulation,
        driver: ArmDriver | None = None,
    ) -> None:
        """``now`` returns the time [s] of the clock that stamps what is not simulated time.

        With a ``driver`` the robot follows that and takes no commands.
        """
        self.settings = settings
        self.simulation = simulation
        self._period = simulation.period
        self._outputs = outputs
        self._now = now
        self._driver = driver
        self._changed = threading.Condition()
        self._running = False
        self._resets: deque[_Reset] = deque()
        self.gate = LockstepGate(self._changed, self._interrupted, self._set_fault, self._repeat)
        self._sim: Scene | None = None
        self._seed = settings.seed
        self._tick = 0
        self._first_tick = 1
        self._image_stamp = 0.0
        self._target: _Target | None = None
        self._rejected = 0
        self._succeeded = False
        self._fault = ''
        self._ticks: deque[tuple[float, int]] = deque()
        self._camera: CameraWorker | None = None
        self._thread: threading.Thread | None = None

    def load(self) -> None:
        """Load the first scene and start its episode; raises ``ValueError`` for a wrong task."""
        self._reset(self.settings.task or self.simulation.first_task, self.settings.seed)

    def start(self) -> None:
        """Run; what goes wrong from here on is reported as a fault."""
        self._running = True
        self._target = None
        self._set_fault('')
        self._camera = CameraWorker(self._outputs.image, self._fail)
        self._outputs.success(self._succeeded)
        self._thread = threading.Thread(target=self._run, name='physics', daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End both threads; return after about ``timeout`` [s] at most."""
        with self._changed:
            self._running = False
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
        if self._camera is not None:
            self._camera.stop(timeout)
        self._refuse_resets('the robot was stopped.')

    def reset_episode(self, task: str, seed: int) -> 'Future[str]':
        """Start another episode; the future gives the instruction of the task."""
        future: Future[str] = Future()
        with self._changed:
            if not self._running:
                future.set_exception(RuntimeError('the robot is not running.'))
            else:
                self._resets.append(_Reset(task, seed, future))
                self._changed.notify_all()
        return future

    def command(self, values: np.ndarray, stamp: float) -> str:
        """Take a command [A] in the order of the simulation's names; return why not, or ''.

        One of set-points alone, [P], leaves the efforts as they are.
        """
        with self._changed:
            if len(values) == len(self.simulation.setpoint_names):
                none = np.zeros(len(self.simulation.command_names))
                before = none if self._target is None else self._target.values
                values = np.append(values, before[len(values) :])
            reason = self._command_fault(values)
            if reason:
                self._rejected += 1
                return reason
            self._target = _Target(values, stamp, self._tick)
            self._changed.notify_all()
            return ''

    def report(self) -> RobotReport:
        """Return what was achieved lately; callable from any thread."""
        with self._changed:
            sim = self._sim
            return RobotReport(
                sim.task if sim else self.settings.task,
                self._seed,
                sim.steps if sim else 0,
                self._succeeded,
                self._real_time_factor(),
                self._rejected,
                self._camera.worker.dropped if self._camera else 0,
            )

    def _command_fault(self, values: np.ndarray) -> str:
        if self._sim is None or self._resets:
            return 'the scene is being loaded; commands are taken afterwards.'
        # Later on a large distance only says that this robot is late, and it must catch up.
        now = self._sim.setpoint()
        jump = float(np.abs(values[: len(now)] - now).max())
        if self._target is None and jump > self.settings.command.max_jump:
            return (
                f'first command is {jump:.3f} from the present set-point; expected at most '
                f'command.max_jump {self.settings.command.max_jump} [m or rad]. Disable '
                'and enable the controller, so that it starts from the present state.'
            )
        return ''

    def _run(self) -> None:
        try:
            self._prepare_camera()
            tick = self._lockstep if self.settings.mode == 'lockstep' else self._realtime
            self._due = time.monotonic()
            while self._running:
                self._serve_resets()
                tick()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._running = False
            self._changed.notify_all()
        self._set_fault(f'{type(error).__name__}: {error}')
        self._refuse_resets(f'the simulation failed: {error}')

    def _refuse_resets(self, reason: str) -> None:
        while self._resets:
            request = self._resets.popleft()
            if not request.done.done():
                request.done.set_exception(RuntimeError(reason))

    def _set_fault(self, reason: str) -> None:
        if reason != self._fault:
            self._fault = reason
            self._outputs.fault(reason)

    def _serve_resets(self) -> None:
        while self._resets:
            request = self._resets[0]
            try:
                self._reset(request.task or self._require_sim().task, request.seed)
            except ValueError as error:
                request.done.set_exception(error)
            else:
                self._prepare_camera()
                request.done.set_result(self._require_sim().instruction)
            with self._changed:
                if self._resets:
                    self._resets.popleft()
            self._due = time.monotonic()

    def _reset(self, task: str, seed: int) -> None:
        settings = self.settings
        with self._camera.scene_change() if self._camera else nullcontext():
            sim = self._sim
            if sim is None or sim.task != task:
                camera = settings.camera
                sim = self.simulation.make(task, camera.render, camera.size, settings.max_steps)
            sim.reset(seed)
        if self._driver is not None:
            self._driver.reset(sim.state().astype(np.float64), self._stamp())
        with self._changed:
            self._sim = sim
            self._seed = seed
            self._target = None
            self.gate.restart()
            self._succeeded = False
            self._first_tick = self._tick + 1
            self._ticks.clear()
        self._set_fault('')
        if self._running:
            self._outputs.success(False)

    def _require_sim(self) -> Scene:
        assert self._sim is not None
        return self._sim

    def _prepare_camera(self) -> None:
        assert self._camera is not None
        self._camera.prepare(self._require_sim(), CONTEXT_TIMEOUT_S)

    def _capture(self, stamp: float) -> CameraWorker:
        assert self._camera is not None
        self._camera.capture(self._require_sim(), stamp)
        return self._camera

    def _realtime(self) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: not self._running or bool(self._resets), self._due - time.monotonic()
            )
        late = time.monotonic() - self._due
        if late < 0 or not self._running:
            return
        self._due += self._period / self.settings.real_time_factor
        if late > MAX_BACKLOG_S:
            self._due = time.monotonic()
        stamp = self._advance()
        target = self._target
        if self._driver is not None:
            self._drive(self._driver, stamp)
        elif target is not None:
            fresh = self._tick - target.tick <= self.settings.command.timeout / self._period
            self._move(target, hold=not fresh)
        self._send_state(stamp)
        if self._camera_due():
            self._capture(stamp)

    def _lockstep(self) -> None:
        timeout = self.settings.lockstep.timeout
        stamp = self._advance()
        self._send_state(stamp)
        if self.gate.followed:
            self.gate.await_command(self._command_stamp, stamp, timeout)
        moves = self.gate.followed and not self._interrupted()
        if self._driver is not None:
            self._drive(self._driver, stamp, moves)
        elif moves and self._target is not None:
            self._move(self._target, hold=False)
        if self._camera_due() and not self._interrupted():
            self._image_stamp = stamp
            self._capture(stamp).worker.wait_idle(timeout)
            self.gate.await_chunk(stamp, self._first_tick * self._period, timeout)

    def _repeat(self, waited: float) -> None:
        """Say the time again, and now and then what is seen at it; all may have been lost."""
        stamp = self._tick * self._period
        self._outputs.clock(stamp)
        if waited % RESEND_S < REPEAT_S and waited > RESEND_S / 2:
            self._send_state(stamp)
            if self._image_stamp == stamp:
                self._capture(stamp)

    def _command_stamp(self) -> float:
        if self._driver is not None:
            return self._driver.newest
        return self._target.stamp if self._target is not None else -math.inf

    def _interrupted(self) -> bool:
        return not self._running or bool(self._resets)

    def _advance(self) -> float:
        """Count one tick; return its stamp [s]."""
        self._tick += 1
        now = time.monotonic()
        self._ticks.append((now, self._tick))
        while self._ticks[0][0] < now - RATE_WINDOW_S:
            self._ticks.popleft()
        stamp = self._stamp()
        if self.settings.simulated_time:
            self._outputs.clock(stamp)
        return stamp

    def _stamp(self) -> float:
        return self._tick * self._period if self.settings.simulated_time else self._now()

    def _move(self, target: _Target, hold: bool) -> None:
        sim = self._require_sim()
        if sim.done:
            return
        command = target.values.copy()
        if hold:
            command[: len(self.simulation.setpoint_names)] = sim.setpoint()
        self._step(sim, command)

    def _drive(self, driver: ArmDriver, stamp: float, moves: bool = True) -> None:
        sim = self._require_sim()
        command = driver.follow(stamp, sim.state().astype(np.float64))
        # Before it was told anything, an episode has not begun.
        if moves and driver.commanded and not sim.done:
            self._step(sim, command)

    def _step(self, sim: Scene, command: np.ndarray) -> None:
        sim.step(command)
        if sim.success and not self._succeeded:
            self._succeeded = True
            self._outputs.success(True)

    def _send_state(self, stamp: float) -> None:
        sim = self._require_sim()
        if self._driver is not None:
            self._driver.tell(stamp, sim.state().astype(np.float64))
            return
        self._outputs.state(stamp, np.concatenate([sim.state(), sim.setpoint()]))

    def _camera_due(self) -> bool:
        """Return whether this tick crosses a camera period; the first tick of an episode does."""
        ticks = self._tick - self._first_tick
        images = self.settings.camera.rate * self._period
        return math.floor(ticks * images + 1e-9) > math.floor((ticks - 1) * images + 1e-9)

    def _real_time_factor(self) -> float:
        # A shorter span would show the start of an episode rather than the pace of the machine.
        if not self._ticks or self._ticks[-1][0] - self._ticks[0][0] < RATE_WINDOW_S / 2:
            return math.nan
        (start, first), (end, last) = self._ticks[0], self._ticks[-1]
        return (last - first) * self._period / (end - start)
