# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever comes when, the motion keeps its limits, is continuous, stops in time, repeats nothing.

A policy drives the robot to a goal from what it observes. Its chunks disagree by an offset and
come 0 to 400 ms late, jittered, dropped and out of order, while the ticks come unevenly and the
operator pauses, resumes and changes the task. EFFICIENT_VLA_SEAM_CASES sets how many such cases
are tried; 10,000 take some minutes.
"""

from dataclasses import dataclass

import numpy as np
from control.seams import CASES, delays, events, interrupt
from hypothesis import given, settings, strategies as st

from efficient_vla.columns import RELATIVE_MODES
from efficient_vla.control.controller import Controller
from efficient_vla.control.settings import (
    BLENDING_METHODS,
    HORIZON_METHODS,
    INTERPOLATIONS,
    ControllerSettings,
)
from efficient_vla.control.state import State
from efficient_vla.settings import build
from efficient_vla.types import ActionChunk, ControlMode

MODES = tuple(mode for mode in ControlMode if mode != ControlMode.UNKNOWN)
VELOCITY, ACCELERATION, JERK = 0.8, 20.0, 1500.0
START = np.array([0.1, 0.6, 0.2])
ENDLESS = np.array([3.0, 0.0, 0.0])
"""Begin of a joint that turns without an end: its way leads through half a turn [rad]."""
BELOW, ABOVE = 0.12, 0.15
DT = 0.0125
STOP_TIME = 0.1
"""From full speed while it still accelerates: sqrt(2 * 0.8 / 1500) + 0.8 / 20 + 20 / 1500, and a
tick to notice [s]."""
SETTLE = 0.4
"""After the last chunk has ended, time to see the robot stand [s]."""
OVERSHOOT = 0.035
"""Who executes a row twice goes further past the goal than this; catching up goes less far [m]."""


@dataclass(frozen=True)
class Case:
    """One run."""

    method: str
    interpolation: str
    horizon: str
    mode: ControlMode
    rate: float
    unevenness: float
    """Ticks come up to this many periods late."""
    ramp_time: float
    speed: float
    goal: tuple[float, float, float]
    offset: float
    rows: int
    slowest: float
    """Least time scale."""
    interval: float
    """Time between observations [s]."""
    delays: list[float | None]
    """Of each chunk [s]; ``None``: lost on the way."""
    event: tuple[str, float, float]
    """What the operator does, when, and for how long [s]."""
    seed: int
    tool: float
    """Limit of the hand's velocity in any direction, 0 for none [m/s]."""
    endless: bool
    """Whether the first joint turns without an end, and rows say angles up to half a turn."""

    @property
    def joints(self) -> bool:
        return self.mode in (ControlMode.JOINT_POSITION, ControlMode.JOINT_DELTA)

    @property
    def start(self) -> np.ndarray:
        return START + ENDLESS if self.endless and self.joints else START

    @property
    def limit(self) -> float:
        return 0.0 if self.joints else self.tool


def cases():
    """Return the strategy of all runs."""
    return st.builds(
        Case,
        method=st.sampled_from(BLENDING_METHODS),
        interpolation=st.sampled_from(INTERPOLATIONS),
        horizon=st.sampled_from(HORIZON_METHODS),
        mode=st.sampled_from(MODES),
        rate=st.sampled_from([100.0, 100.0, 125.0, 200.0, 500.0]),
        unevenness=st.sampled_from([0.0, 0.5, 1.5]),
        ramp_time=st.sampled_from([0.0, 0.3]),
        speed=st.floats(0.05, 1.2),
        goal=st.tuples(st.floats(-0.4, 0.4), st.floats(-0.2, 0.2), st.floats(-0.1, 0.3)),
        offset=st.floats(-0.05, 0.05),
        rows=st.integers(4, 40),
        slowest=st.sampled_from([1.0, 0.5, 0.1]),
        interval=st.floats(0.02, 0.3),
        delays=delays(),
        event=events(),
        seed=st.integers(0, 2**16),
        tool=st.sampled_from([0.0, 0.5, 0.8]),
        endless=st.booleans(),
    )


def chunk_towards(case, observed, goal, sign, stamp, sequence):
    """The policy: a straight approach that slows down, off by the offset but never by more."""
    path = [observed]
    for _ in range(case.rows):
        step = np.clip(8 * (goal - path[-1]), -case.speed, case.speed) * DT
        path.append(path[-1] + step)
    path = np.array(path)
    ends = (case.start[0], goal[0])
    off = abs(case.offset)
    path[1:, 0] = np.clip(path[1:, 0] + sign * case.offset, min(ends) - off, max(ends) + off)
    rows = path[1:]
    if case.mode in RELATIVE_MODES:
        rows = np.diff(path, axis=0)
    if case.mode == ControlMode.EE_TWIST:
        rows = rows / DT
    if case.mode == ControlMode.JOINT_POSITION:
        rows = (rows + np.pi) % (2 * np.pi) - np.pi if case.endless else rows
    names = ('a', 'b', 'c') if case.joints else ('x', 'y', 'z')
    return ActionChunk(rows.astype(np.float32), DT, names, case.mode, stamp, sequence)


@dataclass(frozen=True)
class Run:
    """What the continuous motion was at every tick."""

    times: np.ndarray
    path_times: np.ndarray
    """Time of motion up to each tick: a late one moves on by no more than one in time."""
    motions: np.ndarray
    """[T, 3, M]."""
    states: list[State]
    expiries: list[tuple[float, float]]
    """Until when the newest chunk could move the robot, by the time of motion for its rows and by
    time for its observation; infinite where it never ran out."""
    rows: list[float]
    """Rows of it that were over."""
    max_jerk: float
    """Of the set-points."""


def play(case):
    """Run the case."""
    values = {
        'rate': case.rate,
        'ramp_time': case.ramp_time,
        'interpolation': case.interpolation,
        'blending.method': case.method,
        'horizon.method': case.horizon,
        'time_scaling.low': case.slowest,
        'continuous': ('a',) if case.endless and case.joints else (),
        'tool.max_velocity': case.limit,
        'limits.position_low': (case.start - BELOW).tolist(),
        'limits.position_high': (case.start + ABOVE).tolist(),
    }
    start = case.start
    names = chunk_towards(case, start, start, 1, 0.0, 0).names
    controller = Controller(build(ControllerSettings, values), names)
    controller.reset(start, 0.0)
    controller.enable(0.0)
    rng = np.random.default_rng(case.seed)
    goal = start + case.goal
    waiting, position, now, sequence, expiry, latest = [], start, 0.0, 0, np.inf, np.inf
    arrivals = [k * case.interval + (delay or 0.0) for k, delay in enumerate(case.delays)]
    # Rows that ask for more than the limits last longer, until their chunk is too old.
    longest = controller.settings.watchdog.chunk_timeout
    end = max(arrivals) + longest + SETTLE + case.event[2]
    action, begins, lasts = case.event
    log = ([], [], [], [], [], [])
    moved = 0.0
    while now < end:
        if sequence < len(case.delays) and now >= sequence * case.interval:
            delay = case.delays[sequence]
            sequence += 1
            if delay is not None:
                sign = 1 if sequence % 2 else -1
                chunk = chunk_towards(case, position, goal, sign, now, sequence)
                waiting.append((now + delay, sequence, chunk))
        for item in sorted(item for item in waiting if item[0] <= now):
            waiting.remove(item)
            if controller.accept(item[2], now) is None:
                latest = item[2].stamp + controller.settings.watchdog.chunk_timeout
        if action != 'nothing' and now >= begins:
            if action == 'pause' and controller.state != State.PAUSED:
                controller.pause(now)
                action, begins = 'resume', now + lasts
            else:
                interrupt(controller, action, case, values, now)
                action = 'nothing'
        if controller.state == State.TRACKING:
            # A chunk that is slowed lasts longer than it seemed to.
            expiry = moved + controller.report(now).remaining
        elapsed = (1 + case.unevenness * rng.random()) / case.rate
        now += elapsed
        position = controller.tick(now).position
        moved += elapsed if elapsed <= 1.5 / case.rate else 1 / case.rate
        log[0].append(now)
        log[1].append(moved)
        log[2].append(controller._limiter.motion)
        log[3].append(controller.state)
        log[4].append((expiry, latest))
        execution = controller.report(now).execution
        log[5].append(execution.row if execution is not None else 0.0)
    return Run(*map(np.array, log[:3]), *log[3:], controller.max_jerk)


def assert_inside_the_limits(case, run):
    position, velocity, acceleration = run.motions.transpose(1, 0, 2)
    assert (position >= case.start - BELOW - 1e-9).all()
    assert (position <= case.start + ABOVE + 1e-9).all()
    if case.limit:
        assert np.linalg.norm(velocity, axis=1).max() <= case.limit * (1 + 1e-6)
    assert np.abs(velocity).max() <= VELOCITY * (1 + 1e-6)
    assert np.abs(acceleration).max() <= ACCELERATION * (1 + 1e-6)
    assert run.max_jerk <= JERK * (1 + 1e-4)


def assert_one_motion_of_limited_jerk(case, run):
    """A bounded jerk leads from each state to the next, seen from either of them.

    That makes position and velocity continuous, which is C1, and the acceleration as well.
    """
    times = np.concatenate([[0.0], run.path_times])
    start = np.zeros((1, *run.motions.shape[1:]))
    start[0, 0] = case.start
    motions = np.concatenate([start, run.motions])
    for begin, end, time in (
        (motions[:-1], motions[1:], np.diff(times)),
        (motions[1:], motions[:-1], -np.diff(times)),
    ):
        t = time[:, None]
        off = end[:, 2] - begin[:, 2]
        assert (np.abs(off) <= JERK * np.abs(t) * (1 + 1e-6) + 1e-6).all()
        off = end[:, 1] - begin[:, 1] - t * begin[:, 2]
        assert (np.abs(off) <= JERK * t**2 / 2 * (1 + 1e-6) + 1e-8).all()
        off = end[:, 0] - begin[:, 0] - t * begin[:, 1] - t**2 / 2 * begin[:, 2]
        assert (np.abs(off) <= JERK * np.abs(t) ** 3 / 6 * (1 + 1e-6) + 1e-10).all()


def assert_standing_in_time(case, run):
    # What is left is said by the scale of the moment, which may fall within a tick.
    slowed = (1 + case.unevenness) / case.rate
    since = None
    for time, moved, motion, state, expiry, row in zip(
        run.times, run.path_times, run.motions, run.states, run.expiries, run.rows, strict=True
    ):
        if state == State.TRACKING:
            # Nothing moves the robot later than its chunk allows.
            assert moved <= expiry[0] + slowed + 1e-4
            assert time <= expiry[1] + 1e-4
            assert row <= case.rows + 1e-3
            since = None
            continue
        if since is None:
            since = moved
        if moved >= since + STOP_TIME:
            assert not motion[1:].any()
            assert state != State.DECELERATING
    assert not run.motions[-1, 1:].any()


def assert_nothing_twice(case, run):
    way = run.motions[:, 0] - case.start
    goal = np.clip(case.goal, -BELOW, ABOVE)
    slack = OVERSHOOT + np.array([abs(case.offset), 0.0, 0.0])
    assert (way <= np.maximum(goal, 0) + slack).all()
    assert (way >= np.minimum(goal, 0) - slack).all()


@given(case=cases())
@settings(max_examples=CASES, deadline=None, derandomize=True, database=None)
def test_seams_of_any_kind_are_safe(case):
    run = play(case)
    assert_inside_the_limits(case, run)
    assert_one_motion_of_limited_jerk(case, run)
    assert_standing_in_time(case, run)
    assert_nothing_twice(case, run)
