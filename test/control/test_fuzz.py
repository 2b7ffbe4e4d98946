# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever befalls controller and robot, each set-point keeps the limits and every end is one.

The set-points are judged by their own finite differences and by formulas of this file alone.
EFFICIENT_VLA_FUZZ_TICKS sets how many are tried, EFFICIENT_VLA_FUZZ_SEED from which life on;
1,000,000 take some minutes.
"""

import math
import os
from itertools import pairwise

import numpy as np
from control.lives import KINDS, Life

TICKS = int(os.environ.get('EFFICIENT_VLA_FUZZ_TICKS', '6000'))
FIRST = int(os.environ.get('EFFICIENT_VLA_FUZZ_SEED', '0'))
A_LIFE = 300
LATE = 1.5
"""A tick that comes so many periods after the one before has missed its turn."""
STILL = 0.003
"""A robot slower than this has come to rest [m/s]."""
TOLERANCE = 0.01
"""stop_tolerance [m]."""


def path_times(life, times):
    """Return the time of motion up to each set-point; one that missed its turn is a period on."""
    elapsed = np.diff(times, prepend=times[0])
    if life.covers == 0:
        elapsed = np.where(elapsed > LATE * life.period, life.period, elapsed)
    return np.cumsum(elapsed)


def assert_inside_the_limits(life, times, path, positions, limits):
    """Divided differences are means of the derivatives, so that they keep the same limits."""
    velocity, acceleration, jerk, _, low, high = limits
    if ((positions[0] >= low) & (positions[0] <= high)).all():
        assert (positions >= low - 1e-9).all()
        assert (positions <= high + 1e-9).all()
    steps = np.abs(np.diff(positions, axis=0))
    elapsed = np.diff(times)[:, None]
    assert (steps <= velocity * (elapsed * (1 + 1e-6) + 1e-9)).all()
    if life.covers == 0:
        assert (steps <= velocity * LATE * life.period * (1 + 1e-6)).all()
        assert (steps <= velocity * np.diff(path)[:, None] * (1 + 1e-6) + 1e-9).all()
    differences = positions
    for order, limit in enumerate((velocity, acceleration, jerk), 1):
        if len(differences) < 2:
            return
        spans = path[order:] - path[:-order]
        differences = np.diff(differences, axis=0) / spans[:, None]
        shortest = np.diff(path)
        shortest = np.min([shortest[k : len(spans) + k] for k in range(order)], axis=0)
        rounding = 1e-14 * np.abs(positions).max() / shortest**order
        allowed = limit * (1 + 1e-5) + rounding[:, None]
        assert (math.factorial(order) * np.abs(differences) <= allowed).all()


def brake_time(velocity, acceleration, deceleration, jerk):
    """Return a time in which a brake ends: first of the acceleration, then of the velocity [s]."""
    coast = abs(velocity + acceleration * abs(acceleration) / (2 * jerk))
    if coast * jerk < deceleration**2:
        return abs(acceleration) / jerk + 2 * math.sqrt(coast / jerk)
    return abs(acceleration) / jerk + coast / deceleration + deceleration / jerk


def time_to_stand(life, motion, robot, speed, limits):
    """Return in what time the set-point is to stand after an end at ``motion`` [3, M] [s].

    It brakes, and where the robot is far off, it goes back to where that can stop. The robot goes
    on meanwhile, for which its end is chosen anew.
    """
    longest = 0.0
    for (p, v, a), place, moving, limit in zip(motion.T, robot, speed, limits, strict=True):
        fastest, acceleration, jerk, stop = limit[:4]
        brake = brake_time(v, a, stop, jerk)
        if life.kind not in ('true', 'own') or life.covers > 0:
            swing = fastest / acceleration + acceleration / jerk
            # What a robot says is believed as far as following_error.
            off = abs(p - place) if life.kind != 'lying' else life.settings.following_error
            way = off + (abs(v) + abs(moving)) * (brake + life.settings.robot_delay)
            brake += 3 * swing + (way + 0.02) / fastest
        longest = max(longest, brake)
    return longest


def assert_a_slow_robot_soon_ends(life, log, path, end, until):
    """It goes on until its set-point has turned and come back to it, and not to the set-point."""
    robots = np.array(log.robots[end:until])
    lost = log.times[until - 1] - log.times[end] - (path[until - 1] - path[end])
    for axis, (p, v, a) in enumerate(log.motions[end].T):
        fastest, acceleration, jerk, stop = log.limits[end][axis][:4]
        speed = log.velocities[end][axis]
        brake = brake_time(v, a, stop, jerk)
        lead = abs(p - robots[0, axis]) + (abs(v) + a**2 / (2 * jerk)) * brake
        meets = brake + fastest / acceleration + acceleration / jerk + lead / fastest + lost
        way = (robots[:, axis] - robots[0, axis]) * np.sign(speed)
        assert way.max() <= max(abs(speed), lead / life.lag) * meets + 2 * TOLERANCE


def assert_every_end_ends(life, log, path):
    """Between an end and the next chunk or end, the set-point stands once it has braked."""
    stands = 0
    moved = np.abs(np.diff(np.array(log.motions)[:, 0], axis=0)).max(axis=1) > 0
    for index, end in enumerate(log.ends):
        last = log.ends[index + 1] if index + 1 < len(log.ends) else len(path) - 1
        until = end + 1
        while until <= last and not log.tracking[until]:
            if log.segments[until] != log.segments[end]:
                break
            until += 1
        until = min(until, len(path))
        if life.kind == 'slow':
            assert_a_slow_robot_soon_ends(life, log, path, end, until)
        bound = time_to_stand(
            life, log.motions[end], log.robots[end], log.velocities[end], log.limits[end]
        )
        late = path[end:until] >= path[end] + bound + 1e-9
        late = np.flatnonzero(late) + end
        if len(late) > 1:
            assert not moved[late[:-1]].any()
            assert not log.motions[late[-1]][1:].any()
            stands += 1
    return stands


def assert_the_robot_stands(life, how):
    """End the last motion and see the robot stand in the time that its brake and its lag take."""
    log = life.log
    if not life.known or not log.times:
        return
    if how != 'chunks run out':
        life.end(how)
    else:
        # The last chunk is of 2 s, and too old after 0.5 s; stamps may be 0.05 s ahead, clocks 5 %.
        life.on_the_way = []
        life.deliver(life.make_chunk(rows=40, dt=0.05))
        for _ in range(math.ceil(0.6 / life.period)):
            life.live(life.period)
        assert not life.tracking
    end = len(log.times) - 1
    wait = time_to_stand(
        life, log.motions[end], log.robots[end], log.velocities[end], log.limits[end]
    )
    for _ in range(math.ceil(wait / life.period) + 1 + len(life.wire)):
        life.live(life.period)
    assert not log.motions[-1][1:].any()
    if life.kind == 'lying':
        return
    left = np.abs(life.position + [0.0, 0.0, life.sag] - log.motions[-1][0]).max()
    if life.kind != 'blocked':
        assert left <= 2 * TOLERANCE
    settle = life.lag * math.log(max(2 * TOLERANCE / (STILL * life.lag), 1.0)) if life.lag else 0.0
    for _ in range(math.ceil(settle / life.period) + 2):
        life.live(life.period)
    assert np.abs(life.velocity).max() < STILL


def judge(seed):
    """Let a life be lived and judge all of it; return it and how many ends were judged."""
    life = Life(seed)
    log = life.play(A_LIFE)
    assert_the_robot_stands(life, life.rng.choice(['stop', 'disable', 'flush', 'chunks run out']))
    if life.kind in ('true', 'late', 'slow', 'sagging', 'own'):
        assert life.reanchored == 0, 'a set-point that was held has been moved'
    times = np.array(log.times)
    path = path_times(life, times)
    motions = np.array(log.motions)
    assert np.isfinite(motions).all()
    segments = np.array(log.segments)
    # Limits change at rest only.
    changes = [i for i in range(1, len(times)) if log.limits[i] != log.limits[i - 1]]
    breaks = np.flatnonzero(np.diff(segments)) + 1
    cuts = sorted({0, len(times), *breaks.tolist(), *changes})
    for begin, end in pairwise(cuts):
        part = slice(begin, end)
        limits = np.array(log.limits[begin]).T
        assert_inside_the_limits(life, times[part], path[part], motions[part, 0], limits)
    return life, assert_every_end_ends(life, log, path)


def test_no_life_leads_out_of_the_limits_or_past_an_end():
    ticks, seed, tracked, stood, kinds = 0, FIRST, 0, 0, set()
    while ticks < TICKS:
        try:
            life, stands = judge(seed)
        except Exception as error:
            raise AssertionError(f'life {seed}, after {ticks} ticks: {error}') from error
        seed += 1
        ticks += len(life.log.times)
        tracked += sum(life.log.tracking)
        stood += stands
        kinds.add(life.kind)
    # The lives were worth it: robots of all kinds moved, and were seen to stand after many ends.
    assert kinds == set(KINDS)
    assert tracked > 0.15 * ticks
    assert stood > ticks / 500
