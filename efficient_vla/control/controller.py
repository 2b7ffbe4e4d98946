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
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from efficient_vla.columns import GRIPPER, axes_of, motion_columns
from efficient_vla.control import admission
from efficient_vla.control.attitude import Attitude
from efficient_vla.control.blending import METHODS
from efficient_vla.control.catalogue import head_help
from efficient_vla.control.delay import executed_rows
from efficient_vla.control.history import History
from efficient_vla.control.horizon import Horizon
from efficient_vla.control.jerk import JerkMeter
from efficient_vla.control.kinematics.checks import Checked, Finding, Model, Ranges
from efficient_vla.control.laid import Laid, lay
from efficient_vla.control.limits import AxisLimits, Limiter, outside
from efficient_vla.control.moment import Moment
from efficient_vla.control.norms import tool_norms
from efficient_vla.control.pace import PathLimits, PathPace
from efficient_vla.control.robot_contract import RobotContract
from efficient_vla.control.rotations import Quaternion
from efficient_vla.control.settings import ControllerSettings
from efficient_vla.control.state import ControllerReport, State
from efficient_vla.control.stopping import RobotMotion, Stopping
from efficient_vla.control.time_scaling import TimeScaling
from efficient_vla.control.trajectory import Trajectory
from efficient_vla.control.watchdog import Watchdog
from efficient_vla.control.whereabouts import DRIFT_S
from efficient_vla.types import ActionChunk, Command, Execution

EDGE = 1e-3
"""A robot this far outside of the box is started from its edge [m or rad]."""
LATE = 1.5
"""So many periods after the one before a tick missed its turn; one that comes earlier jitters."""
RAMP_START = 0.1
"""Fraction of the velocity limit at which a ramp begins."""
LOOK_AHEAD_S = 0.005
"""Where the arm would come to stand is checked every so often."""


class Controller:
    """Time alignment, blending, limits and watchdog for one robot.

    ``names`` are the columns of the robot's command; ``gripper`` is passed through from the newest
    chunk, every other one is an axis. Times are seconds of one clock, that of the chunks, too.

    Motion goes by time, so that ticks may jitter. A set-point that missed its turn is one period of
    motion from the one before, however late it is: nothing is made up for. ``covers`` [s] is for
    how long a robot goes on by itself along the motion, before it goes along ``brake_path``: a
    late set-point then goes on from there. 0: it stays where the set-point is.

    ``model`` of the arm turns rows of the end effector into joints, and says what the arm must not
    follow; without one, chunks are in the robot's own columns.
    """

    def __init__(
        self,
        settings: ControllerSettings,
        names: tuple[str, ...],
        covers: float = 0.0,
        model: Model | None = None,
    ) -> None:
        self.names = tuple(names)
        self._model = model
        self.finding: Finding | None = None
        """What the model found in the newest chunk, also one that was refused."""
        self._cut = ''
        """Why the newest trajectory stands at its end, empty where it does not."""
        self._looked = 0.0
        self._covers = covers
        self.state = State.DISABLED
        self.reason = 'not enabled yet'
        self.underruns = 0
        self.rejected = 0
        self.max_seam = 0.0
        self.attitude = Attitude(names)
        self._motion = motion_columns(names)
        self._gripper = names.index(GRIPPER) if GRIPPER in names else None
        self.axes = axes_of(names)
        """Names of the axes; a quaternion in ``names`` has three, see ``attitude.py``."""
        self.continuous = np.isin(self.axes, settings.continuous)
        self._path_time = 0.0
        self._effort = 0.0
        self._jerk = JerkMeter()
        self._history: History | None = None
        self._newest: Trajectory | None = None
        self._watchdog = Watchdog()
        self._state_since = 0.0
        self._delay = math.nan
        self._ramped = 0.0
        self._braked = 0.0
        """Time in which the set-point went on since no chunk moves it [s]."""
        self._moved = False
        self._followed = False
        """Whether a chunk has been followed since the robot was enabled or reset."""
        self._ended = -math.inf
        """When motion was last ended by disabling or a stop: chunks from before are void."""
        self._horizon = Horizon(settings.horizon)
        self._scaling = TimeScaling(settings.time_scaling.low)
        self._pace = PathPace()
        self._path_limits: PathLimits | None = None
        self._limiter = Limiter(settings.limits, np.zeros(len(self._motion)), self.attitude.axes)
        self._contract = RobotContract(self.names, self.attitude, self.continuous, settings)
        self._stopping = Stopping(self._limiter.position)
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

    @property
    def at_rest(self) -> bool:
        """Whether the set-point stands where it is to stand."""
        return self._limiter.at_rest and self._stopping.target is None

    @property
    def motion(self) -> np.ndarray:
        """Position, velocity and acceleration of the axes' set-point [3, M]."""
        return self._limiter.motion

    @property
    def limits(self) -> list[AxisLimits]:
        """The limits of each axis."""
        return self._limiter.limits

    def observe(self, robot: RobotMotion | None) -> None:
        """Take how the robot was measured to move, ``None`` where that is not to be trusted."""
        self._stopping.robot = robot

    def limit_speed(self, share: float) -> None:
        """Execute chunks at no more than ``share`` of their speed, where the robot is slowed.

        Their rows last longer then; none is left out.
        """
        self._scaling.limit(share)

    def check(self, settings: ControllerSettings) -> None:
        """Raise ``InvalidSettingError`` where the limits do not fit the robot's axes."""
        self._limiter.checked(settings.limits)

    def configure(self, settings: ControllerSettings) -> None:
        """Apply other settings from the next tick on, without a jump.

        Raises ``InvalidSettingError`` when the limits do not fit the robot's axes; the settings
        then stay as they were.
        """
        self._limiter.configure(settings.limits)
        velocity, _, jerk, stop, low, high = np.array(self.limits).T
        self._ranges = Ranges(low, high, velocity, stop, jerk, self.continuous)
        self._limiter.norms = tool_norms(settings.tool, self.axes)
        self._contract.configure(settings)
        if self._newest is not None:
            self._path_limits = self._limits_of(self._newest)
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
        self._limiter.hold(self.attitude.hold(position, position[self._motion]), EDGE)
        self._stopping.restart(self._limiter.position)
        if self._gripper is not None:
            self._effort = float(np.clip(position[self._gripper], -1, 1))
        self._history = History(self._keep(), self._limiter.position, stamp, self.attitude.turned)
        self._jerk.restart()
        self.finding = None
        if self._model is not None:
            self._model.rest(self._limiter.position)
        self._followed = False
        self._braked = 0.0
        self._forget_chunks()
        if self.enabled:
            refused = self._outside()
            if refused:
                self._enter(State.DISABLED, refused, stamp)
            else:
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
            refused = self._outside()
            if refused:
                return refused
            self._jerk.largest = 0.0
            self.max_seam = 0.0
            self._ramped = 0.0
            self._followed = False
            self._enter(State.WAITING, 'waiting for a chunk', now)
        return None

    def disable(self, now: float) -> None:
        """Stop the robot inside the limits and ignore chunks; a stop stays."""
        stopped = self.state == State.STOPPED
        reason = self.reason if stopped else 'disabled'
        self._ended = now
        self._end(State.STOPPED if stopped else State.DISABLED, reason, now)

    def stop(self, now: float, reason: str = 'stop requested') -> None:
        """Stop the robot inside the limits until ``reset_stop``; the first reason stays."""
        stopped = self.state == State.STOPPED
        self._ended = now
        self._end(State.STOPPED, self.reason if stopped else reason, now)

    def reset_stop(self, now: float) -> None:
        """End a stop; the controller is disabled then."""
        if self.state == State.STOPPED:
            self._enter(State.DISABLED, 'disabled', now)

    def pause(self, now: float, reason: str = 'paused') -> str | None:
        """Stop the robot inside the limits and hold; return why that is refused, or ``None``.

        Chunks that come meanwhile are ignored. Whoever pauses last gives the reason.
        """
        if self.state == State.PAUSED:
            self.reason = reason
            return None
        if not self.enabled:
            return f'the controller is {self.state.name.lower()}; only an enabled one can pause.'
        self._moved = self.state == State.TRACKING
        self._end(State.PAUSED, reason, now, forget=False)
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
        if self.enabled:
            self._end(State.DECELERATING, reason, now)
        else:
            self._forget_chunks()

    def examine(self, chunk: ActionChunk, now: float) -> Callable[[], Laid] | None:
        """Return the check of ``chunk`` by the arm's model, ``None`` where there is none.

        It takes milliseconds and may run on another thread; ``accept`` takes what it returns.
        """
        history = self._history
        if self._model is None or history is None or not self.enabled:
            return None
        anchor = history.position(self._observed(chunk, now, history))
        contract, ranges = self.settings.contract, self._ranges
        if not self._followed:
            first = np.array([contract.first_length, contract.first_angle])
            ranges = replace(ranges, first=first)
        return partial(
            lay,
            partial(self._model.check, chunk, anchor, ranges),
            self.names,
            self._layer(chunk, now, history),
            partial(PathLimits, limits=self.limits, norms=self._limiter.norms),
            self.settings,
            partial(self._contract.refuse, held=self._limiter.position, first=not self._followed),
            not self._followed,
        )

    def accept(self, chunk: ActionChunk | Laid, now: float) -> str | None:
        """Let ``chunk`` drive the robot; return why it is rejected, or ``None``."""
        if self._history is None or not self.enabled:
            return f'controller is {self.state.name.lower()}; chunk ignored.'
        if isinstance(chunk, ActionChunk):
            examine = self.examine(chunk, now)
            chunk = examine() if examine else Laid(Checked(chunk))
        checked = chunk.checked
        reason = checked.refused or self._refuse(chunk, now, self._history)
        self.finding = finding = checked.finding
        if not reason:
            trajectory, limits = self._anchored(chunk, now, self._history)
            reason = admission.refuse_turn(
                checked.chunk, trajectory.knots[1:], trajectory.anchor, self.continuous, self.axes
            ) or admission.refuse_ended(trajectory, self._clock(now), now)
        if reason:
            self.rejected += 1
            return reason
        self._cut = str(finding) if finding and finding.stops else ''
        self._follow(trajectory, limits, now, self._history)
        return None

    def _refuse(self, laid: Laid, now: float, history: History) -> str | None:
        """Return why a chunk may not drive the robot, whatever its path is, or ``None``."""
        active = self.chunk if self.state == State.TRACKING else None
        chunk, first, refused = laid.checked.chunk, not self._followed, laid.refused
        if laid.settings is not self.settings or laid.first != first:
            refused = self._contract.refuse(chunk, self._limiter.position, first)
        return (
            refused
            or admission.refuse_time(chunk, now, max(history.since, self._ended), self.settings)
            or admission.refuse_order(chunk, active)
            or admission.refuse_plan(chunk, now)
        )

    def tick(self, now: float) -> Command:
        """Return the set-point that applies at ``now``, whatever happened before."""
        if self._history is None:
            raise RuntimeError(
                'tick before reset: the set-point of the robot is not known. Call reset first.'
            )
        elapsed = now - self._history.time
        if elapsed < -self._period:
            self._clock_jumped_back(now)
            elapsed = self._period
        if elapsed > 0:
            step = self._moves_on(elapsed)
            if self._covers > 0 and elapsed > step:
                self._limiter.brake(elapsed - step)
                self.attitude.move(self._limiter.position)
                self._path_time += elapsed - step
            self._advance(now, step, self._history)
        return self._command(max(now, self._history.time))

    def columns(self, position: np.ndarray, gripper: float) -> np.ndarray:
        """Return the columns of a command [A] for the axes' ``position`` [M]."""
        columns = np.zeros(len(self.names))
        columns[self._motion] = position
        self.attitude.write(columns, position)
        if self._gripper is not None:
            columns[self._gripper] = gripper
        return columns

    def brake_path(self, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Return how the axes would stop from the newest set-point, see ``Limiter.brake_path``."""
        return self._limiter.brake_path(points)

    def setpoint(self, time: float) -> np.ndarray:
        """Return the axes' set-point at ``time`` [M], which is of lately, without the gripper."""
        if self._history is None:
            raise RuntimeError('set-point asked for before reset. Call reset first.')
        return self._history.position(time)

    def turned(self, time: float) -> Quaternion:
        """Return how the set-point was turned at ``time``, which is of lately."""
        if self._history is None:
            raise RuntimeError('orientation asked for before reset. Call reset first.')
        return self._history.turned(time)

    def setpoints(self, begin: float, end: float) -> np.ndarray:
        """Return the axes' set-points that ruled from ``begin`` to ``end`` [K, M], of lately."""
        if self._history is None:
            raise RuntimeError('set-points asked for before reset. Call reset first.')
        return self._history.positions(begin, end)

    def report(self, now: float) -> ControllerReport:
        """Return state, ages and counters at ``now``."""
        chunk = self.chunk
        return ControllerReport(
            state=self.state,
            reason=self.reason,
            finding=str(self.finding or ''),
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

    def _limits_of(self, trajectory: Trajectory) -> PathLimits:
        return PathLimits(trajectory, self.limits, self._limiter.norms)

    def _anchored(self, laid: Laid, now: float, history: History) -> tuple[Trajectory, PathLimits]:
        """Return the path of a chunk as it was laid out, or anew where that is no longer right."""
        chunk, trajectory = laid.checked.chunk, laid.trajectory
        lay_out = self._layer(chunk, now, history)
        told = lay_out.keywords
        if (
            trajectory is None
            or laid.limits is None
            or laid.settings is not self.settings
            or trajectory.start != told['start']
            or (trajectory.anchor != told['anchor']).any()
        ):
            trajectory = lay_out(chunk)
            return trajectory, self._limits_of(trajectory)
        return trajectory, laid.limits

    def _layer(self, chunk: ActionChunk, now: float, history: History) -> 'partial[Trajectory]':
        """Return what lays a chunk out from the set-point that the observation of ``chunk`` saw."""
        observed = self._observed(chunk, now, history)
        return partial(
            Trajectory,
            motion=self._motion,
            gripper=self._gripper,
            anchor=history.position(observed),
            start=self._clock(observed),
            interpolation=self.settings.interpolation,
            continuous=self.continuous,
            attitude=self.attitude,
            turned=history.turned(observed),
        )

    def _observed(self, chunk: ActionChunk, now: float, history: History) -> float:
        """Return the time of the set-point that the observation of ``chunk`` saw."""
        observed = min(chunk.stamp, now) - self.settings.robot_delay
        return max(observed, history.since)

    def _moves_on(self, elapsed: float) -> float:
        """Return by how much the motion goes on in ``elapsed`` after a set-point [s]."""
        if elapsed <= max(LATE * self._period, self._covers):
            return elapsed
        return max(self._period, self._covers)

    @property
    def _speed(self) -> float:
        """Speed of the clock of motion."""
        return self._pace.speed if self.state == State.TRACKING else 0.0

    @property
    def _expected(self) -> float:
        """Speed that the clock of motion runs up to."""
        return self._pace.expected if self.state == State.TRACKING else 0.0

    def _clock(self, time: float) -> float:
        """Return the clock of motion at ``time`` [s]."""
        history = self._history
        assert history is not None
        return history.clock(history.time + self._moves_on(time - history.time), self._speed)

    def _execution(self, now: float) -> Execution | None:
        newest, history = self._newest, self._history
        if newest is None or history is None:
            return None
        shown = max(now - self.settings.robot_delay, history.since)
        return Execution(
            stamp=newest.chunk.stamp,
            time=now,
            row=max(newest.row(self._clock(shown)), 0.0),
            time_scale=min(self._expected, 1.0),
            delay=self._delay,
            blending=self.settings.blending.method,
            help=head_help(self.settings.blending.method),
        )

    def _remaining(self, now: float) -> float:
        if self.state != State.TRACKING or self._history is None:
            return 0.0
        return self._watchdog.remaining(now, self._clock(now), self._expected)

    def _follow(
        self, trajectory: Trajectory, limits: PathLimits, now: float, history: History
    ) -> None:
        clock = self._clock(now)
        self._followed = True
        seam = self._limiter.position - trajectory.at(history.clock(history.time, 0.0))[0]
        self.max_seam = max(self.max_seam, math.hypot(*seam.tolist()))
        before = self._newest if self.state == State.TRACKING else None
        self._delay = executed_rows(trajectory, before, clock)
        if before is not None:
            self._horizon.compare(trajectory, before, clock)
        self._watch(trajectory)
        age = now - trajectory.chunk.stamp
        lasts, left = (self._watchdog.left(since) for since in (trajectory.start, clock))
        self._scaling.arrived(lasts, left, now, age, self._watchdog.deadline)
        self._path_limits = limits
        self._track(trajectory, now, history)

    def _track(self, trajectory: Trajectory, now: float, history: History) -> None:
        if self.state != State.TRACKING:
            self._blending = METHODS[self.settings.blending.method](self.settings.blending)
            self._scaling.settle()
            waits = min(now - history.time, max(self._period, self._covers))
            # A robot that still braked passed rows, which are not gone back for.
            clock = history.clock(history.time, 0.0)
            passed = trajectory.nearest(self._limiter.position, clock, self._braked)
            history.skip(passed - clock)
            self._braked = 0.0
            path = trajectory.at(history.clock(history.time, 0.0))
            self._pace.begin(self._limiter.motion, path, self._scaling.speed, waits)
            self._stopping.target = None
            self._enter(State.TRACKING, '', now)
            if self._model is not None:
                self._model.begin(self._limiter.position)
        self._blend(trajectory, history)
        self._newest = trajectory

    def _blend(self, trajectory: Trajectory, history: History) -> None:
        """Let the reference go over to ``trajectory`` from the newest set-point."""
        moment = self._moment(history.time, history.clock(history.time, 0.0))
        self._blending.add(trajectory, moment, self._limiter.motion)

    def _moment(self, time: float, clock: float) -> Moment:
        oldest = time - self.settings.watchdog.chunk_timeout
        return Moment(time, clock, self._pace.speed, self._pace.slope, oldest)

    def _watch(self, trajectory: Trajectory) -> None:
        delay = 0.0 if math.isnan(self._delay) else self._delay * trajectory.chunk.dt
        delay /= self._scaling.speed
        end, why = self._horizon.end(trajectory, delay)
        self._watchdog.watch(
            trajectory.chunk,
            (end, self._cut or why),
            self.settings.watchdog.chunk_timeout,
        )

    def _advance(self, now: float, period: float, history: History) -> None:
        newest = self._newest
        speed = 0.0
        if self.state == State.TRACKING:
            share = self._ramp(period)
            speed = self._go_on(now, period, share, history) / (now - history.time)
            clock = history.clock(now, speed)
            expired = self._watchdog.expired(now, clock, self._expected)
            if self._pace.ended:
                expired = self._watchdog.ran_out
            if expired:
                speed = 0.0
                self.underruns += 1
                self._end(State.DECELERATING, expired, now, forget=False)
        if self.state == State.TRACKING and newest is not None:
            reference = self._blending.at(self._moment(now, clock))
            if self.attitude.axes is not None:
                reference = self.attitude.followed(reference, self._limiter.motion, period)
            self._limiter.follow(reference, period, share)
            effort = newest.gripper(clock)
            self._effort = self._effort if effort is None else effort
            self._look_ahead(now)
        else:
            self._braked += 0.0 if self.at_rest else period
            self._stopping.advance(self._limiter, period)
            if self.state == State.DECELERATING and self.at_rest:
                self._enter(State.HOLDING, self.reason, now)
        self._stopping.passed(self._limiter.position)
        self.attitude.move(self._limiter.position)
        history.append(self._limiter.position, now, speed, self.attitude.turned)
        self._path_time += period
        self._jerk.add(self._limiter.position, self._path_time)

    def _look_ahead(self, now: float) -> None:
        """Brake where the arm would come to stand too near to something."""
        if self._model is None or 0 <= now - self._looked < LOOK_AHEAD_S:
            return
        self._looked = now
        position, velocity, acceleration = self._limiter.motion
        # By the next time the set-point has gone on.
        position = position + max(self._period, LOOK_AHEAD_S) * velocity
        refused = self._model.refuse(self._limiter.rest(position, velocity, acceleration))
        if refused:
            self._end(State.DECELERATING, refused, now)

    def _go_on(self, now: float, period: float, share: float, history: History) -> float:
        """Return by how much the clock of motion goes on in ``period`` until ``now``, all [s].

        ``share`` of the velocity limits may be used. Where the next chunk is overdue, the clock is
        to stand at the end of this one.
        """
        assert self._path_limits is not None
        self._scaling.advance(period)
        clock = history.clock(history.time, 0.0)
        fastest, slope, change = self._path_limits.at(clock, self._pace.speed)
        wanted = self._scaling.speed, self._scaling.slope
        limits = share * fastest, slope, change
        overdue = self._scaling.overdue(now)
        room = max(self._watchdog.left(clock), 0.0) if overdue else math.inf
        return self._pace.advance(period, wanted, limits, self._scaling.spare, room)

    def _ramp(self, period: float) -> float:
        """Return the fraction of the velocity limits that may be used for the next ``period``."""
        if self._ramped >= self.settings.ramp_time:
            return 1.0
        self._ramped += period
        share = min(self._ramped / self.settings.ramp_time, 1.0)
        return RAMP_START + (1 - RAMP_START) * share

    def _clock_jumped_back(self, now: float) -> None:
        self._ended = -math.inf
        self.flush(now, 'clock jumped back')
        self._history = History(
            self._keep(), self._limiter.position, now - self._period, self.attitude.turned
        )

    def _outside(self) -> str | None:
        """Return that the set-point is outside of the box, or ``None``."""
        where = outside(self.axes, self._limiter.position, self.limits)
        if not where:
            return None
        return (
            f'{where}; expected a robot inside of limits.position_low and '
            'position_high. Move it there by hand, or correct the limits.'
        )

    def _end(self, state: State, reason: str, now: float, forget: bool = True) -> None:
        """End the motion, of the robot and not of the set-point alone."""
        if forget:
            self._forget_chunks()
        delay, tolerance = self.settings.robot_delay, self.settings.stop_tolerance
        if self._history is not None:
            lately = self._history.positions
            self._stopping.choose(self._limiter, now, delay, tolerance, lately)
        self._enter(state, reason, now)

    def _forget_chunks(self) -> None:
        self._newest = None
        self._horizon.restart()
        self._scaling.restart()
        self._watchdog.restart()

    def _keep(self) -> float:
        # Older observations are rejected; two periods more for those between ticks.
        longest = max(self.settings.watchdog.chunk_timeout, DRIFT_S)
        return longest + self.settings.robot_delay + 2 * self._period

    def _enter(self, state: State, reason: str, now: float) -> None:
        self.state = state
        self.reason = reason
        self._state_since = now

    def _command(self, now: float) -> Command:
        velocity = np.zeros(len(self.names))
        velocity[self._motion] = self._limiter.velocity
        self.attitude.write_rate(velocity, self._limiter.velocity)
        position = self.columns(self._limiter.position, self._effort)
        return Command(position, velocity, self.names, now)
