# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The motion gate gives tokens back where the robot does fine work."""

import numpy as np

from efficient_vla.reasoning.gate import MotionGate
from efficient_vla.reasoning.settings import GateSettings

NAMES = ('x', 'y', 'z', 'gripper')
SPEED = GateSettings(method='speed', slow=0.05, fast=0.1)


def moved(gate, settings, speed, start=0.0, seconds=1.0, x=0.0, step=0.0125):
    """Move along x at ``speed``; return the last stamp and place."""
    stamps = start + step * np.arange(1, round(seconds / step) + 1)
    for stamp in stamps:
        gate.observe(np.array([x + speed * (stamp - start), 0, 0, 1.0]), float(stamp), settings)
    return float(stamps[-1]), x + speed * seconds


def test_speed_is_that_of_the_end_effector_and_not_of_the_gripper():
    gate = MotionGate(NAMES)
    for step in range(40):
        state = np.array([0.003 * step, 0.004 * step, 0.0, step % 2])
        gate.observe(state, 0.0125 * step, SPEED)
    assert abs(gate.speed(39 * 0.0125) - 0.4) < 1e-9


def test_speed_has_hysteresis():
    gate = MotionGate(NAMES)
    seen = []
    stamp, x = 0.0, 0.0
    for speed in (0.2, 0.07, 0.03, 0.07, 0.2):
        stamp, x = moved(gate, SPEED, speed, stamp, x=x)
        seen.append(bool(gate.judge(stamp, SPEED)))
    assert seen == [False, False, True, True, False]


def test_unknown_or_old_motion_counts_as_fine():
    gate = MotionGate(NAMES)
    assert gate.judge(0.0, SPEED) == 'motion unknown'
    stamp, _ = moved(gate, SPEED, 0.2)
    assert gate.judge(stamp, SPEED) == ''
    assert gate.judge(stamp + 0.6, SPEED) == 'motion unknown'


def test_a_clock_that_jumps_back_starts_anew():
    gate = MotionGate(NAMES)
    moved(gate, SPEED, 0.2, start=100.0)
    gate.observe(np.zeros(4), 1.0, SPEED)
    assert gate.judge(1.0, SPEED) == 'motion unknown'


def test_no_gate_never_gives_tokens_back():
    gate = MotionGate(NAMES)
    assert gate.judge(0.0, GateSettings()) == ''


def test_extrema_by_hand():
    """Windows of 0.5 s move 5, 4, 6, 5.5, 1, 2, 7 cm: two to compare with come first."""
    settings = GateSettings(method='extrema', window=0.5, max_pruned=10)
    gate = MotionGate(NAMES)
    gate.observe(np.zeros(4), 0.0, settings)
    seen, stamp, x = [], 0.0, 0.0
    for centimetres in (5, 4, 6, 5.5, 1, 2, 7):
        stamp, x = moved(gate, settings, centimetres / 50, stamp, 0.5, x, step=0.125)
        seen.append(bool(gate.judge(stamp, settings)))
    # 6 >= max(5, 4): pruned. 5.5 between 4 and 6: held. 1 < min: full. 2 between: held. 7: pruned.
    assert seen == [True, True, False, False, True, True, False]


def test_extrema_sees_one_window_in_full_after_max_pruned():
    settings = GateSettings(method='extrema', window=0.5, max_pruned=2)
    gate = MotionGate(NAMES)
    gate.observe(np.zeros(4), 0.0, settings)
    seen, stamp, x = [], 0.0, 0.0
    for centimetres in range(1, 10):
        stamp, x = moved(gate, settings, centimetres / 50, stamp, 0.5, x, step=0.125)
        seen.append(bool(gate.judge(stamp, settings)))
    assert seen == [True, True, False, False, True, False, False, True, False]


def test_joints_stand_in_where_the_state_is_not_cartesian():
    gate = MotionGate(('shoulder', 'elbow', 'gripper'))
    for step in range(20):
        gate.observe(np.array([0.01 * step, 0.0, step % 2]), 0.01 * step, SPEED)
    assert abs(gate.speed(0.19) - 1.0) < 1e-9
