# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The controller keeps its period and its limits while every core is busy, and stops at once."""

import math
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from benchmarks.motion import timing
from benchmarks.motion.timing import measure_timing
from efficient_vla.nodes.client.loop_probe import violations

LIMITS = {
    'max_velocity': np.array([0.8]),
    'max_acceleration': np.array([20.0]),
    'max_jerk': np.array([1500.0]),
    'position_low': np.array([-0.5, 0.4, 0.05]),
    'position_high': np.array([0.5, 1.0, 0.5]),
}


def swing(stamps, amplitude, frequency):
    """Return positions and velocities [N, 3] of a swing along y."""
    angle = 2 * math.pi * frequency * (stamps - stamps[0])
    positions = np.tile([0.0, 0.6, 0.2], (len(stamps), 1))
    velocities = np.zeros_like(positions)
    positions[:, 1] += amplitude * np.sin(angle)
    velocities[:, 1] = amplitude * 2 * math.pi * frequency * np.cos(angle)
    return positions, velocities


@pytest.mark.parametrize(
    ('amplitude', 'frequency', 'broken'),
    [
        (0.05, 1.0, False),  # 0.31 m/s, 2.0 m/s^2, 12 m/s^3
        (0.15, 1.0, True),  # 0.94 m/s
        (0.01, 8.0, True),  # 25 m/s^2
        (0.001, 20.0, True),  # 1984 m/s^3
        (0.21, 0.1, True),  # out of the box
    ],
)
def test_broken_limits_are_seen_whatever_the_jitter(amplitude, frequency, broken):
    random = np.random.default_rng(0)
    stamps = 1.7e9 + np.cumsum(random.uniform(0.003, 0.008, 2000))
    found = violations(stamps, *swing(stamps, amplitude, frequency), LIMITS, 0.006)
    assert (found > 0) == broken


def test_jump_of_one_set_point_is_seen():
    stamps = 1.7e9 + 0.005 * np.arange(1000)
    positions, velocities = swing(stamps, 0.05, 1.0)
    assert violations(stamps, positions, velocities, LIMITS, 0.005) == 0
    positions[500:, 0] += 0.001
    assert violations(stamps, positions, velocities, LIMITS, 0.005) > 0


@pytest.mark.parametrize(('periods', 'made_up_for'), [(1.4, True), (4.0, False)])
def test_a_late_set_point_goes_by_time_until_it_misses_its_turn(periods, made_up_for):
    motion = 0.005 * np.arange(1000.0)
    stamps = 1.7e9 + motion
    stamps[500:] += (periods - 1) * 0.005
    by_time, one_on = swing(stamps, 0.05, 1.0), swing(motion, 0.05, 1.0)
    assert (violations(stamps, *by_time, LIMITS, 0.005) == 0) == made_up_for
    assert (violations(stamps, *one_on, LIMITS, 0.005) == 0) != made_up_for


def test_the_load_is_ended_by_its_parent_and_not_by_ctrl_c():
    with timing._burning(True, dict(os.environ)):
        children = Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()
        burners = [pid for pid in children if '.burn' in Path(f'/proc/{pid}/cmdline').read_text()]
        for pid in burners:
            os.kill(int(pid), signal.SIGINT)
        states = [Path(f'/proc/{pid}/status').read_text() for pid in burners]
    assert len(burners) == len(os.sched_getaffinity(0))
    for state in states:
        (blocked,) = re.findall(r'^SigBlk:\s+(\w+)$', state, re.MULTILINE)
        assert int(blocked, 16) & 1 << signal.SIGINT - 1


def test_row_tells_period_limits_and_stops(ros_domain):
    """On a machine that others use, so that nothing is asked of the times themselves."""
    (row,) = measure_timing(seconds=1.5, rate=50.0, load=False, stops=2, privileged=False)
    assert (row['rate_hz'], row['load'], row['real_time'], row['nice']) == (50.0, False, False, 0)
    assert row['period_p50_ms'] == pytest.approx(20.0, rel=0.2)
    assert row['period_p50_ms'] <= row['period_p99_ms'] <= row['period_p999_ms']
    assert row['commands'] >= 40
    assert row['limit_violations'] == 0
    assert row['max_jerk'] > 10
    assert row['stops'] == 2
    assert 0 < row['stop_p50_ms'] <= row['stop_max_ms']
    assert all(isinstance(v, (int, float, bool, str, type(None))) for v in row.values())


def test_row_of_an_arm_tells_its_joints(ros_domain):
    (row,) = measure_timing(seconds=1.5, rate=50.0, load=False, stops=1, privileged=False, arm=True)
    assert row['joints'] == 7
    assert row['commands'] >= 40
    assert row['limit_violations'] == 0
    assert row['max_jerk'] > 10


def stolen() -> int:
    """Return the time that a hypervisor gave to others while a core of ours was ready [ticks]."""
    return int(Path('/proc/stat').read_text().split()[8])


@pytest.mark.alone
def test_loop_is_steady_while_every_core_is_busy(ros_domain):
    for _ in range(4):
        before = stolen()
        (row,) = measure_timing(seconds=5.0, rate=200.0, load=True, stops=4)
        # What a hypervisor took says nothing of the loop: that is measured anew.
        steady = row['period_p99_ms'] < 6.0 and row['period_p999_ms'] < 10.0
        if steady or stolen() == before:
            break
    if not row['real_time']:
        pytest.skip('this system grants no real-time priority')
    assert row['period_p99_ms'] < 6.0
    assert row['period_p999_ms'] < 10.0
    assert row['limit_violations'] == 0
    assert row['stop_max_ms'] < 5.0, 'within one period of the call'
