# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Action chunks in, one safe set-point a tick out.

Set-points carry the time at which they apply. A caller in real time ticks with the time that it
is; a caller that steps a simulator ticks with the time at which the step ends::

    controller.reset(np.append(sim.setpoint(), 0.0), time)
    controller.enable(time)
    while not sim.done:
        controller.accept(policy.act(frame, instruction), time)   # frame.stamp == time
        command = controller.tick(time + sim.PERIOD)
        sim.step(command.position[:3], command.position[3])
        time += sim.PERIOD
"""

import math

import numpy as np

from efficient_vla.control import admission
from efficient_vla.control.blending import METHODS
from efficient_vla.control.catalogue import head_help
from efficient_vla.control.contract import GRIPPER, refuse_unit
from efficient_vla.control.delay import executed_rows
from efficient_vla.control.history import History
from efficient_vla.control.horizon import Horizon
from efficient_vla.control.jerk import JerkMeter
from efficient_vla.control.limits import Limiter
from efficient_vla.control.moment import Moment
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.control.state import ControllerReport, State
from efficient_vla.control.time_scaling import TimeScaling
from efficient_vla.control.trajectory import Trajectory
from efficient_vla.control.watchdog import Watchdog
from efficient_vla.types import ActionChunk, Command, Execution

MAX_PERIODS = 3.0
MAX_LATE_S = 0.04
"""After a late tick the set-point moves on for at most this many periods or, where that is longer,
this time: robots cannot leap after it. Less would break the limits by the stamps of set-points."""
RAMP_START = 0.1
"""Fraction of the velocity limit at which a ramp begins."""


class Controller:
    """Time alignment, blending, limits and watchdog for one robot.

    ``names`` are the columns of the robot's command; ``gripper`` is passed through from the newest
    chunk, every other one is an axis. Times are seconds of the clock that stamps the chunks.
    """

    def __init__(self, settings: ControllerSettings, names: tuple[str, ...]) -> None:
        self.names = tuple(names)
        self.state = State.DISABLED
        self.reason = 'not enabled yet'
        self.underruns = 0
        self.rejected = 0
        self.max_seam = 0.0
        self._motion = np.array([i for i, name in enumerate(names) if name != GRIPPER])
        self._gripper = names.index(GRIPPER) if GRIPPER in names else None
        self._effort = 0.0
        self._jerk = JerkMeter()
        self._history: History | None = None
        self._newest: Trajectory | None = None
        self._watchdog = Watchdog()
        self._state_since = 0.0
        self._delay = math.nan
        self._ramped = 0.0
        self._moved = False
        self._horizon = Horizon(settings.horizon)
        self._scaling = TimeScaling(settings.time_scaling.low)
        self._limiter = Limiter(settings.limits, np.zeros(len(self._motion)))
        self.settings = settings
        self._blending = METHODS[settings.blending.method](settings.blending)
        self.configure(settings)

    @property
    def max_jerk(self) -> float:
        """Largest jerk of the set-points since enabled [m/s^3]."""
        return self._jerk.largest

    @property
    def chunk(self) -> ActionChunk | None:
        """The newest chunk that drives the robot or is to drive it, ``None`` without one."""
        return self._newest.chunk if self._newest is not None else None

    @property
    def enabled(self) -> bool:
        """Whether chunks may drive the robot."""
        return self.state not in (State.DISABLED, State.STOPPED, State.PAUSED)

    def check(self, settings: ControllerSettings) -> None:
        """Raise ``InvalidSettingError`` where the limits do not fit the robot's axes."""
        self._limiter.checked(settings.limits)

    def configure(self, settings: ControllerSettings) -> None:
        """Apply other settings from the next tick on, without a jump.

        Raises ``InvalidSettingError`` when the limits do not fit the robot's axes; the settings
        then stay as they were.
        """
        self._limiter.configure(settings.limits)
        blends_anew = settings.blending != self.settings.blending
        self.settings = settings
        self._period = 1 / settings.rate
        self._horizon.configure(settings.horizon)
        self._scaling.configure(settings.time_scaling.low)
        if blends_anew:
            self._blending = METHODS[settings.blending.method](settings.blending)
        if self._history is not None:
            self._history.keep = self._keep()
            if self._newest is not None:
                if blends_anew:
                    self._blend(self._newest, self._history)
                self._watch(self._newest)

    def reset(self, position: np.ndarray, stamp: float) -> None:
        """Take over the robot's real set-point ``position`` [A]; chunks from before are void."""
        position = np.array(position, dtype=np.float64)
        if position.shape != (len(self.names),) or not np.isfinite(position).all():
            raise ValueError(
                f'set-point of the robot is {position}; expected a finite number for each of '
                f'{", ".join(self.names)}.'
            )
        self._limiter.hold(position[self._motion])
        if self._gripper is not None:
            self._effort = float(np.clip(position[self._gripper], -1, 1))
        self._history = History(self._keep(), self._limiter.position, stamp)
        self._jerk.restart()
        self._forget_chunks()
        if self.enabled:
            self._enter(State.WAITING, 'robot was reset; waiting for a chunk', stamp)

    def enable(self, now: float) -> str | None:
        """Let chunks drive the robot; return why that is refused, or ``None``."""
        if self._history is None:
            return 'the set-point of the robot is not known yet; is the robot running?'
        if self.state == State.STOPPED:
            return 'the controller is stopped; call reset_stop first, then enable it.'
        if self.state == State.PAUSED:
            return 'the controller is paused; resume it.'
        if self.state == State.DISABLED:
            self._jerk.largest = 0.0
            self.max_seam = 0.0
            self._ramped = 0.0
            self._enter(State.WAITING, 'waiting for a chunk', now)
        return None

    def disable(self, now: float) -> None:
        """Stop the robot inside the limits and ignore chunks; a stop stays."""
        self._forget_chunks()
        if self.state != State.STOPPED:
            self._enter(State.DISABLED, 'disabled', now)

    def stop(self, now: float, reason: str = 'stop requested') -> None:
        """Stop the robot inside the limits until ``reset_stop``; the first reason stays."""
        self._forget_chunks()
        if self.state != State.STOPPED:
            self._enter(State.STOPPED, reason, now)

    def reset_stop(self, now: float) -> None:
        """End a stop; the controller is disabled then."""
        if self.state == State.STOPPED:
            self._enter(State.DISABLED, 'disabled', now)

    def pause(self, now: float, reason: str = 'paused') -> str | None:
        """Stop the robot inside the limits and hold; return why that is refused, or ``None``.

        Chunks that come meanwhile are ignored.
        """
        if self.state == State.PAUSED:
            return None
        if not self.enabled:
            return f'the controller is {self.state.name.lower()}; only an enabled one can pause.'
        self._moved = self.state == State.TRACKING
        self._enter(State.PAUSED, reason, now)
        return None

    def resume(self, now: float) -> str | None:
        """End a pause; return why that is refused, or ``None``.

        The robot goes on along its chunk where that is still young enough, as if no time had
        passed, and otherwise waits for the next one.
        """
        if self.state != State.PAUSED:
            return f'the controller is {self.state.name.lower()}, not paused.'
        assert self._history is not None
        self._ramped = 0.0
        newest = self._newest
        expired = self._watchdog.expired(now, self._clock(now), self._scaling.speed)
        if newest is not None and self._moved and not expired:
            self._track(newest, now, self._history)
            return None
        self._forget_chunks()
        self._enter(State.WAITING, 'resumed; waiting for a chunk', now)
        return None

    def flush(self, now: float, reason: str) -> None:
        """Drop all chunks, stop inside the limits and hold until the next chunk."""
        self._forget_chunks()
        if self.enabled:
            self._enter(State.DECELERATING, reason, now)

    def accept(self, chunk: ActionChunk, now: float) -> str | None:
        """Let ``chunk`` drive the robot; return why it is rejected, or ``None``."""
        if self._history is None or not self.enabled:
            return f'controller is {self.state.name.lower()}; chunk ignored.'
        active = self.chunk if self.state == State.TRACKING else None
        reason = (
            admission.refuse_contents(chunk, self.names)
            or refuse_unit(chunk, self._motion, self._limiter.position, self.settings.limits)
            or admission.refuse_time(chunk, now, self._history.since, self.settings)
            or admission.refuse_order(chunk, active)
            or admission.refuse_plan(chunk, now)
        )
        if not reason:
            trajectory = self._anchored(chunk, now, self._history)
            reason = admission.refuse_ended(trajectory, self._clock(now), now)
        if reason:
            self.rejected += 1
            return reason
        self._follow(trajectory, now, self._history)
        return None

    def tick(self, now: float, braked: float = 0.0) -> Command:
        """Return the set-point that applies at ``now``, whatever happened before.

        ``braked`` [s] of the time since the last tick the robot went along ``brake_path`` by
        itself; the set-point goes on from there.
        """
        if self._history is None:
            raise RuntimeError(
                'tick before reset: the set-point of the robot is not known. Call reset first.'
            )
        elapsed = now - self._history.time
        if elapsed < -self._period:
            self._clock_jumped_back(now)
            elapsed = self._period
        if elapsed > 0:
            braked = min(braked, max(elapsed - self._period, 0.0))
            if braked > 0:
                self._limiter.brake(braked)
            longest = max(MAX_PERIODS * self._period, MAX_LATE_S)
            self._advance(now, min(elapsed - braked, longest), self._history)
        return self._command(max(now, self._history.time))

    def brake_path(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Return how the axes would stop from the newest set-point, see ``Limiter.brake_path``."""
        return self._limiter.brake_path(points)

    def setpoint(self, time: float) -> np.ndarray:
        """Return the axes' set-point at ``time`` [M], which is of lately, without the gripper."""
        if self._history is None:
            raise RuntimeError('set-point asked for before reset. Call reset first.')
        return self._history.position(time)

    def report(self, now: float) -> ControllerReport:
        """Return state, ages and counters at ``now``."""
        chunk = self.chunk
        return ControllerReport(
            state=self.state,
            reason=self.reason,
            state_age=max(now - self._state_since, 0.0),
            chunk_sequence=chunk.sequence if chunk else 0,
            chunk_age=now - chunk.stamp if chunk else math.inf,
            plan_age=now - chunk.plan_stamp if chunk else math.inf,
            remaining=self._remaining(now),
            execution=self._execution(now),
            underruns=self.underruns,
            rejected=self.rejected,
            max_jerk=self.max_jerk,
            max_seam=self.max_seam,
        )

    def _anchored(self, chunk: ActionChunk, now: float, history: History) -> Trajectory:
        """Lay ``chunk`` out from the set-point that its observation saw."""
        observed = min(chunk.stamp, now) - self.settings.robot_delay
        observed = max(observed, history.since)
        return Trajectory(
            chunk,
            self._motion,
            self._gripper,
            history.position(observed),
            self._clock(observed),
            self.settings.interpolation,
        )

    @property
    def _speed(self) -> float:
        """Speed of the clock of motion."""
        return self._scaling.speed if self.state == State.TRACKING else 0.0

    def _clock(self, time: float) -> float:
        """Return the clock of motion at ``time`` [s]."""
        assert self._history is not None
        return self._history.clock(time, self._speed)

    def _execution(self, now: float) -> Execution | None:
        newest, history = self._newest, self._history
        if newest is None or history is None:
            return None
        shown = max(now - self.settings.robot_delay, history.since)
        return Execution(
            stamp=newest.chunk.stamp,
            time=now,
            row=max(newest.row(self._clock(shown)), 0.0),
            time_scale=min(self._speed, 1.0),
            delay=self._delay,
            blending=self.settings.blending.method,
            help=head_help(self.settings.blending.method),
        )

    def _remaining(self, now: float) -> float:
        if self.state != State.TRACKING or self._history is None:
            return 0.0
        return self._watchdog.remaining(now, self._clock(now), self._speed)

    def _follow(self, trajectory: Trajectory, now: float, history: History) -> None:
        clock = self._clock(now)
        seam = self._limiter.position - trajectory.at(history.clock(history.time, 0.0))[0]
        self.max_seam = max(self.max_seam, float(np.linalg.norm(seam)))
        before = self._newest if self.state == State.TRACKING else None
        self._delay = executed_rows(trajectory, before, clock)
        if before is not None:
            self._horizon.compare(trajectory, before, clock)
        self._watch(trajectory)
        age = now - trajectory.chunk.stamp
        self._scaling.arrived(self._watchdog.left(clock), now, age, self._watchdog.deadline)
        self._track(trajectory, now, history)

    def _track(self, trajectory: Trajectory, now: float, history: History) -> None:
        if self.state != State.TRACKING:
            self._blending = METHODS[self.settings.blending.method](self.settings.blending)
            self._scaling.settle()
            history.stand(now, self._scaling.speed)
            self._enter(State.TRACKING, '', now)
        self._blend(trajectory, history)
        self._newest = trajectory

    def _blend(self, trajectory: Trajectory, history: History) -> None:
        """Let the reference go over to ``trajectory`` from the newest set-point."""
        moment = self._moment(history.time, history.clock(history.time, 0.0))
        self._blending.add(trajectory, moment, self._limiter.motion)

    def _moment(self, time: float, clock: float) -> Moment:
        oldest = time - self.settings.watchdog.chunk_timeout
        return Moment(time, clock, self._scaling.speed, self._scaling.slope, oldest)

    def _watch(self, trajectory: Trajectory) -> None:
        delay = 0.0 if math.isnan(self._delay) else self._delay * trajectory.chunk.dt
        delay /= self._scaling.speed
        self._watchdog.watch(
            trajectory.chunk,
            self._horizon.end(trajectory, delay),
            self.settings.watchdog.chunk_timeout,
        )

    def _advance(self, now: float, period: float, history: History) -> None:
        newest = self._newest
        if self.state == State.TRACKING:
            self._scaling.advance(period)
            clock = self._clock(now)
            expired = self._watchdog.expired(now, clock, self._speed)
            if expired:
                self.underruns += 1
                self._enter(State.DECELERATING, expired, now)
        if self.state == State.TRACKING and newest is not None:
            reference = self._blending.at(self._moment(now, clock))
            self._limiter.follow(reference, period, self._ramp(period))
            effort = newest.gripper(clock)
            self._effort = self._effort if effort is None else effort
        else:
            self._limiter.brake(period)
            if self.state == State.DECELERATING and self._limiter.at_rest:
                self._enter(State.HOLDING, self.reason, now)
        history.append(self._limiter.position, now, self._speed)
        self._jerk.add(self._limiter.position, now)

    def _ramp(self, period: float) -> float:
        """Return the fraction of the velocity limits that may be used for the next ``period``."""
        if self._ramped >= self.settings.ramp_time:
            return 1.0
        self._ramped += period
        share = min(self._ramped / self.settings.ramp_time, 1.0)
        return RAMP_START + (1 - RAMP_START) * share

    def _clock_jumped_back(self, now: float) -> None:
        self._forget_chunks()
        self._history = History(self._keep(), self._limiter.position, now - self._period)
        self._jerk.restart()
        if self.enabled:
            self._enter(State.DECELERATING, 'clock jumped back', now)

    def _forget_chunks(self) -> None:
        self._newest = None
        self._horizon.restart()
        self._scaling.restart()
        self._watchdog.restart()

    def _keep(self) -> float:
        # Older observations are rejected; two periods more for those between ticks.
        return self.settings.watchdog.chunk_timeout + self.settings.robot_delay + 2 * self._period

    def _enter(self, state: State, reason: str, now: float) -> None:
        self.state = state
        self.reason = reason
        self._state_since = now

    def _command(self, now: float) -> Command:
        position = np.empty(len(self.names))
        velocity = np.zeros(len(self.names))
        position[self._motion] = self._limiter.position
        velocity[self._motion] = self._limiter.velocity
        if self._gripper is not None:
            position[self._gripper] = self._effort
        return Command(position, velocity, self.names, now)
