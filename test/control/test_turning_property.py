# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever comes when, a tool that turns keeps its limits, linear and angular, and stands in time.

A policy moves and turns a tool, and a joint without an end beside it, to a goal. Its chunks
disagree in place and orientation, and come late, dropped and out of order, while the ticks come
unevenly and the operator interferes. What is judged are the quaternions that are sent, by their
differences. EFFICIENT_VLA_SEAM_CASES sets how many cases are tried.
"""

from dataclasses import dataclass

import numpy as np
from control.seams import CASES, delays, events, interrupt
from hypothesis import given, settings, strategies as st
from scipy.spatial.transform import Rotation

from efficient_vla.control.controller import Controller
from efficient_vla.control.settings import BLENDING_METHODS, INTERPOLATIONS, ControllerSettings
from efficient_vla.control.state import State
from efficient_vla.settings import build
from efficient_vla.types import ActionChunk, ControlMode

NAMES = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'wrist', 'gripper')
VELOCITY = np.array([0.8] * 3 + [2.0] * 3 + [1.5])
ACCELERATION = np.array([20.0] * 3 + [30.0] * 3 + [15.0])
JERK = np.array([1500.0] * 3 + [2000.0] * 3 + [1000.0])
START = np.array([0.1, 0.6, 0.2])
WRIST = 3.0
"""Its way leads through half a turn [rad]."""
REACH = 0.15
DT = 0.0125
STOP_TIME = 0.17
"""From full speed while it still accelerates, for the slowest axis, and a tick to notice [s]."""
SETTLE = 0.4
LINEAR, TURNING, ENDLESS = slice(0, 3), slice(3, 6), slice(6, 7)


@dataclass(frozen=True)
class Case:
    """One run."""

    method: str
    interpolation: str
    absolute: bool
    frame: str
    rate: float
    unevenness: float
    ramp_time: float
    speed: float
    spin: float
    """How fast the policy turns the tool [rad/s]."""
    way: tuple[float, float, float]
    turn: tuple[float, float, float]
    """From the first orientation to that of the goal [rad]."""
    wrist: float
    offset: float
    twist: tuple[float, float, float]
    """By how much chunks disagree about the orientation [rad]."""
    rows: int
    slowest: float
    interval: float
    delays: list[float | None]
    event: tuple[str, float, float]
    seed: int
    tool: tuple[float, float]
    """Limits of the tool's velocity and angular velocity, 0 for none."""


def cases():
    """Return the strategy of all runs."""
    small = st.floats(-0.1, 0.1)
    angle = st.floats(-1.8, 1.8)
    return st.builds(
        Case,
        method=st.sampled_from(BLENDING_METHODS),
        interpolation=st.sampled_from(INTERPOLATIONS),
        absolute=st.booleans(),
        frame=st.sampled_from(['base', 'tool']),
        rate=st.sampled_from([100.0, 100.0, 200.0, 500.0]),
        unevenness=st.sampled_from([0.0, 0.5, 1.5]),
        ramp_time=st.sampled_from([0.0, 0.3]),
        speed=st.floats(0.05, 1.2),
        spin=st.floats(0.1, 4.0),
        way=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
        turn=st.tuples(angle, angle, angle),
        wrist=st.floats(-1.0, 1.0),
        offset=st.floats(-0.05, 0.05),
        twist=st.tuples(small, small, small),
        rows=st.integers(4, 40),
        slowest=st.sampled_from([1.0, 0.5, 0.1]),
        interval=st.floats(0.02, 0.3),
        delays=delays(),
        event=events(),
        seed=st.integers(0, 2**16),
        tool=st.sampled_from([(0.0, 0.0), (0.5, 1.0), (0.8, 2.5)]),
    )


def first(case):
    """Return the robot's first orientation, any."""
    return Rotation.random(random_state=case.seed)


def chunk_towards(case, observed, sign, stamp, sequence):
    """The policy: a straight approach that slows down, off by what chunks disagree about."""
    place, turned, wrist = observed[:3], Rotation.from_quat(observed[3:7]), observed[7]
    goal = first(case) * Rotation.from_rotvec(case.turn)
    places, turns, wrists = [place], [turned], [wrist]
    for _ in range(case.rows):
        left = START + case.way - places[-1]
        places.append(places[-1] + np.clip(8 * left, -case.speed, case.speed) * DT)
        way = (turns[-1].inv() * goal).as_rotvec()
        fast = min(8.0, case.spin / max(np.linalg.norm(way), 1e-9)) * DT
        turns.append(turns[-1] * Rotation.from_rotvec(way * fast))
        wrists.append(wrists[-1] + np.clip(4 * (WRIST + case.wrist - wrists[-1]), -1, 1) * DT)
    off = Rotation.from_rotvec(sign * np.array(case.twist))
    places = np.array(places)
    places[1:, 0] += sign * case.offset
    rotations = Rotation.concatenate([turns[0], *(turn * off for turn in turns[1:])])
    rows = np.zeros((case.rows, len(NAMES)))
    if case.absolute:
        rows[:, :3], rows[:, 3:7] = places[1:], rotations[1:].as_quat()
        rows[:, 7] = (np.array(wrists[1:]) + np.pi) % (2 * np.pi) - np.pi
        mode, frame = ControlMode.EE_POSITION, 'base'
    else:
        before, after = rotations[:-1], rotations[1:]
        rows[:, :3] = np.diff(places, axis=0)
        rows[:, 7] = np.diff(wrists)
        rows[:, 3:7] = (after * before.inv()).as_quat()
        if case.frame == 'tool':
            rows[:, :3] = before.inv().apply(rows[:, :3])
            rows[:, 3:7] = (before.inv() * after).as_quat()
        mode, frame = ControlMode.EE_DELTA, case.frame
    return ActionChunk(rows.astype(np.float32), DT, NAMES, mode, stamp, sequence, frame=frame)


@dataclass(frozen=True)
class Run:
    """What was sent at every tick, and the time of motion up to it."""

    times: np.ndarray
    sent: np.ndarray
    rates: np.ndarray
    states: list[State]
    accepted: int


def play(case):
    """Run the case."""
    values = {
        'rate': case.rate,
        'ramp_time': case.ramp_time,
        'interpolation': case.interpolation,
        'blending.method': case.method,
        'time_scaling.low': case.slowest,
        'continuous': ('wrist',),
        'tool.max_velocity': case.tool[0],
        'tool.max_angular_velocity': case.tool[1],
        'limits.max_velocity': VELOCITY.tolist(),
        'limits.max_acceleration': ACCELERATION.tolist(),
        'limits.stop_deceleration': ACCELERATION.tolist(),
        'limits.max_jerk': JERK.tolist(),
        'limits.position_low': [*(START - REACH), -1.0, -1.0, -1.0, -10.0],
        'limits.position_high': [*(START + REACH), 1.0, 1.0, 1.0, 10.0],
    }
    controller = Controller(build(ControllerSettings, values), NAMES)
    position = np.array([*START, *first(case).as_quat(), WRIST, 0.0])
    controller.reset(position, 0.0)
    assert controller.enable(0.0) is None
    rng = np.random.default_rng(case.seed)
    waiting, now, sequence, moved, accepted = [], 0.0, 0, 0.0, 0
    arrivals = [k * case.interval + (delay or 0.0) for k, delay in enumerate(case.delays)]
    end = max(arrivals) + controller.settings.watchdog.chunk_timeout + SETTLE + case.event[2]
    action, begins, lasts = case.event
    times, sent, rates, states = [0.0], [position], [np.zeros(len(NAMES))], [controller.state]
    while now < end:
        if sequence < len(case.delays) and now >= sequence * case.interval:
            delay = case.delays[sequence]
            sequence += 1
            if delay is not None:
                chunk = chunk_towards(case, position, 1 if sequence % 2 else -1, now, sequence)
                waiting.append((now + delay, sequence, chunk))
        for item in sorted(item for item in waiting if item[0] <= now):
            waiting.remove(item)
            accepted += controller.accept(item[2], now) is None
        if action != 'nothing' and now >= begins:
            if action == 'pause' and controller.state != State.PAUSED:
                controller.pause(now)
                action, begins = 'resume', now + lasts
            else:
                interrupt(controller, action, case, values, now)
                action = 'nothing'
        elapsed = (1 + case.unevenness * rng.random()) / case.rate
        now += elapsed
        command = controller.tick(now)
        position = command.position
        moved += elapsed if elapsed <= 1.5 / case.rate else 1 / case.rate
        times.append(moved)
        sent.append(position)
        rates.append(command.velocity)
        states.append(controller.state)
    return Run(np.array(times), np.array(sent), np.array(rates), states, accepted)


def steps(run):
    """Return by how much each axis went on in each tick [T, 7]; a rotation by its vector."""
    turned = Rotation.from_quat(run.sent[:, 3:7])
    others = np.diff(run.sent, axis=0)
    spun = (turned[:-1].inv() * turned[1:]).as_rotvec()
    return np.concatenate([others[:, :3], spun, others[:, 7:8]], axis=1)


def assert_inside_the_limits(case, run):
    np.testing.assert_allclose(np.linalg.norm(run.sent[:, 3:7], axis=1), 1, atol=1e-12)
    assert (np.abs(run.sent[:, :3] - START) <= REACH + 1e-9).all()
    lasts = np.diff(run.times)[:, None]
    velocity = steps(run) / lasts
    assert (np.abs(velocity) <= VELOCITY * (1 + 1e-6) + 1e-8).all()
    for axes, limit in zip((LINEAR, TURNING), case.tool, strict=True):
        fastest = np.linalg.norm(velocity[:, axes], axis=1).max()
        assert not limit or fastest <= limit * (1 + 1e-6) + 1e-8
    between = (lasts[1:] + lasts[:-1]) / 2
    acceleration = np.diff(velocity, axis=0) / between
    rounding = 1e-15 / lasts.min() ** 2
    assert (np.abs(acceleration) <= ACCELERATION * (1 + 1e-6) + 10 * rounding).all()
    jerk = np.diff(acceleration, axis=0) / ((lasts[:-2] + lasts[1:-1] + lasts[2:]) / 3)
    assert (np.abs(jerk) <= JERK * (1 + 1e-4) + 100 * rounding / lasts.min()).all()


def assert_rates_are_those_of_the_quaternions(run):
    """The rate that is told is that of the way: the next tick goes on from it."""
    turned = Rotation.from_quat(run.sent[:, 3:7])
    told = 2 * (product(turned.inv().as_quat(), run.rates[:, 3:7]))
    np.testing.assert_allclose(told[:, 3], 0, atol=1e-12)
    went = steps(run)[:, TURNING]
    lasts = np.diff(run.times)[:, None]
    middle = (told[:-1, :3] + told[1:, :3]) / 2 * lasts
    assert np.abs(went - middle).max() <= JERK[3] / 12 * lasts.max() ** 3 * 1.01 + 1e-9


def product(p, q):
    """Return Hamilton's product of quaternions [N, 4]; only the first ones are of length 1."""
    vector = p[:, 3:] * q[:, :3] + q[:, 3:] * p[:, :3] + np.cross(p[:, :3], q[:, :3])
    scalar = p[:, 3] * q[:, 3] - (p[:, :3] * q[:, :3]).sum(axis=1)
    return np.column_stack([vector, scalar])


def assert_standing_in_time(case, run):
    since = None
    for moved, rates, state in zip(run.times, run.rates, run.states, strict=True):
        if state == State.TRACKING:
            since = None
            continue
        since = moved if since is None else since
        if moved >= since + STOP_TIME + (1 + case.unevenness) / case.rate:
            assert not rates.any()
            assert state != State.DECELERATING
    assert not run.rates[-1].any()


@given(case=cases())
@settings(max_examples=CASES, deadline=None, derandomize=True, database=None)
def test_seams_of_a_tool_that_turns_are_safe(case):
    run = play(case)
    assert_inside_the_limits(case, run)
    assert_rates_are_those_of_the_quaternions(run)
    assert_standing_in_time(case, run)


def test_a_run_without_trouble_turns_the_tool_to_its_goal():
    case = Case(
        method='offset_fade',
        interpolation='cubic',
        absolute=True,
        frame='base',
        rate=100.0,
        unevenness=0.0,
        ramp_time=0.0,
        speed=0.5,
        spin=2.0,
        way=(0.1, 0.0, 0.0),
        turn=(0.0, 0.9, -0.4),
        wrist=0.3,
        offset=0.0,
        twist=(0.0, 0.0, 0.0),
        rows=40,
        slowest=1.0,
        interval=0.2,
        delays=[0.0] * 8,
        event=('nothing', 0.0, 0.0),
        seed=3,
        tool=(0.0, 0.0),
    )
    run = play(case)
    goal = first(case) * Rotation.from_rotvec(case.turn)
    left = (Rotation.from_quat(run.sent[-1, 3:7]).inv() * goal).magnitude()
    assert run.accepted == len(case.delays)
    assert left < 0.02
